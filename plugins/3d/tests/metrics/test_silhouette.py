import pytest
import torch
from true_scenes import TrueScene

from limbeck.errors import LimbeckError
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.metrics.silhouette import SilhouetteIoU, silhouette_iou


def test_overlap_of_two_squares_is_what_it_is_on_paper():
    one, two = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    one[0, 0, 0:4, 0:4], two[0, 0, 2:6, 0:4] = 1.0, 0.8  # 16 and 16 pixels, 8 in common: 8 / 24
    torch.testing.assert_close(silhouette_iou(one, two), torch.tensor([1 / 3, 1.0]))  # nothing twice is the same


def test_a_scene_that_is_the_mesh_overlaps_fully_and_a_turned_one_less():
    data = Prompt(prompt="a purple cross")
    true, turned = TrueScene("a purple cross"), TrueScene("a purple cross", turn=45.0)
    found = SilhouetteIoU()(true, None, data)
    assert found["silhouette_iou"] > 0.95 and found["silhouette_iou_worst"] > 0.9  # another anti-aliasing
    assert 0.3 < SilhouetteIoU()(turned, None, data)["silhouette_iou"] < 0.8


def test_a_prompt_without_a_mesh_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="silhouette_iou is left out: the prompt 'a blue red box' describes no mesh"):
        assert SilhouetteIoU()(TrueScene("a red box"), None, Prompt(prompt="a blue red box")) == {}


def test_models_that_are_no_scenes_have_no_silhouette():
    assert SilhouetteIoU()(torch.nn.Linear(1, 1), None, Prompt()) == {}
    with pytest.raises(LimbeckError, match="compares with the true mesh of one prompt; the data is object"):
        SilhouetteIoU()(TrueScene("a red box"), None, object())
