import warnings
from types import SimpleNamespace

import pytest
import torch

import limbeck
from limbeck.errors import LimbeckError
from limbeck_3d.scenes.voxels import Voxels


def test_collapse_is_warned_of_once_in_time_or_ends_the_run():
    scene = Voxels(size=8, grid=8, samples=12, particles=2)
    watch = limbeck.create("callback", "3d/collapse", every=10, after=20)
    watch.run_started(built=SimpleNamespace(generator=scene))
    with torch.no_grad():
        scene.density[1] = -20.0  # nothing is left of the second
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch.step_ended(step=10)  # too early
        watch.step_ended(step=25)  # not a step to look at
    with pytest.warns(UserWarning, match="after 30 steps, particle 1: the field is empty: .*guidance") as caught:
        watch.step_ended(step=30)
        watch.step_ended(step=40)
    assert len(caught) == 1
    with torch.no_grad():
        scene.density[0] = 20.0
    with pytest.warns(UserWarning, match="after 50 steps, particle 0: the field is full: .*random backgrounds"):
        watch.step_ended(step=50)
    stern = limbeck.create("callback", "3d/collapse", stop=True)
    stern.run_started(built=SimpleNamespace(generator=scene))
    with pytest.raises(LimbeckError, match="after 100 steps, particle 0: the field is full"):
        stern.step_ended(step=100)
    stern.run_started(built=SimpleNamespace(generator=torch.nn.Linear(1, 1)))
    stern.step_ended(step=100)  # nothing to look at
