import pytest
import torch
from true_scenes import SIZE, TrueScene

from limbeck.errors import LimbeckError
from limbeck.randomness import Rng
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.samplers.orbit import Orbit


def test_orbit_renders_scenes_only_and_counts_one_evaluation():
    cond = Prompt().conditions(3, Rng(0))
    sample = Orbit()(TrueScene("a red torus"), cond, steps=1, rng=Rng(0))
    assert sample.value.shape == (3, 3, SIZE, SIZE) and sample.evaluations == Orbit().evaluations(7) == 1
    with pytest.raises(LimbeckError, match="renders scenes; Linear is none"):
        Orbit()(torch.nn.Linear(1, 1), cond)
