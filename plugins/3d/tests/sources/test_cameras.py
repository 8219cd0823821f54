import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.randomness import Rng
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.sources.cameras import RandomCameras


def test_cameras_are_drawn_anew_at_every_step_and_sliced_by_part():
    source = RandomCameras(data=Prompt(prompt="a green cone"), elevation=(10.0, 20.0), fov=(30.0, 50.0))
    batch = source.batch(64, Rng(0, 3))
    assert isinstance(batch.cond, Conditions) and batch.x0 is None
    assert batch.cond["elevation"].min() >= 10 and batch.cond["elevation"].max() <= 20 and batch.cond["fov"].std() > 4
    assert batch.cond["azimuth"].max() > 300 and batch.cond["background"].std() > 0.5
    assert batch.cond == source.batch(64, Rng(0, 3)).cond and batch.cond != source.batch(64, Rng(0, 4)).cond
    parts = [source.batch(32, Rng(0, 3, part=part, parts=2)).cond for part in range(2)]
    assert torch.equal(torch.cat([part["azimuth"] for part in parts]), batch.cond["azimuth"])


def test_random_cameras_need_a_prompt():
    with pytest.raises(LimbeckError, match="looks at one prompt; the recipe's data is NoneType. Use data"):
        RandomCameras(data=None)
