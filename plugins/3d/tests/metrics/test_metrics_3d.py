import math

import numpy
import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.networks.scenes import Cameras, Render, Scene
from limbeck.randomness import Rng
from limbeck_3d.data import solids
from limbeck_3d.data.captions import VIEWS
from limbeck_3d.data.views import Prompt, orbit_cameras, space
from limbeck_3d.features.view_encoder import HEADS, targets
from limbeck_3d.metrics.scenes import Chamfer, SilhouetteIoU, ViewAccuracy, chamfer, silhouette_iou, surface_points
from limbeck_3d.options.models import CameraOptions
from limbeck_3d.rendering.rasterise import over, rasterise
from limbeck_3d.views.renders import Orbit, renders

SIZE = 32


class TrueScene(Scene):
    """Shows a mesh, turned by `turn` degrees, or always from the front."""

    def __init__(self, prompt, turn=0.0, front_only=False):
        super().__init__()
        self.surface, self.space = solids.surface(solids.build(prompt)), space(SIZE)
        self.turn, self.front_only = turn, front_only
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, cond):
        cameras = Cameras.of(cond)
        azimuth = torch.zeros_like(cameras.azimuth) if self.front_only else cameras.azimuth + self.turn
        seen = rasterise(
            self.surface,
            Cameras(azimuth=azimuth, elevation=cameras.elevation, distance=cameras.distance, fov=cameras.fov),
            SIZE,
        )
        return Render(image=over(seen.colour, seen.alpha, cond["background"]), alpha=seen.alpha)


def test_overlap_of_two_squares_is_what_it_is_on_paper():
    one, two = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    one[0, 0, 0:4, 0:4], two[0, 0, 2:6, 0:4] = 1.0, 0.8  # 16 and 16 pixels, 8 in common: 8 / 24
    torch.testing.assert_close(silhouette_iou(one, two), torch.tensor([1 / 3, 1.0]))  # nothing twice is the same


def test_chamfer_of_two_grids_is_half_of_both_directions():
    grid = numpy.stack(numpy.meshgrid(*[numpy.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    assert chamfer(grid, grid + numpy.array([0.25, 0, 0])) == pytest.approx(0.25)
    # one point against two, at distances 3 (near) and 7: from the one 3, from the two (3 + 7) / 2
    assert chamfer(numpy.zeros((1, 3)), numpy.array([[3.0, 0, 0], [0, 7.0, 0]])) == pytest.approx(0.5 * (3 + 5))


def test_points_lie_on_the_surface_and_are_the_same_every_time():
    mesh = solids.build("a red sphere")
    points = surface_points(mesh, 500)
    assert numpy.abs(numpy.linalg.norm(points, axis=1) - 0.8).max() < 0.01
    assert (points == surface_points(mesh, 500)).all() and abs(points.mean()) < 0.05


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


def test_chamfer_of_a_filled_ball_of_voxels_is_the_difference_of_radii():
    from limbeck_3d.scenes.voxels import Voxels

    scene = Voxels(grid=48).eval()
    line = (torch.arange(48) + 0.5) / 24 - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    radius = torch.sqrt(x**2 + y**2 + z**2)
    with torch.no_grad():
        scene.density.copy_((60 * (0.6 - radius))[None])
    found = Chamfer()(scene, None, Prompt(prompt="a red sphere"))["chamfer"]
    assert found == pytest.approx(0.8 - 0.6, abs=0.03)


def test_a_scene_without_a_surface_has_no_distance_and_says_why():
    from limbeck_3d.scenes.voxels import Voxels

    scene = Voxels(grid=8).eval()
    with torch.no_grad():
        scene.density.fill_(-30.0)
    with pytest.warns(UserWarning, match="chamfer is nan: the field is empty"):
        assert math.isnan(Chamfer()(scene, None, Prompt(prompt="a red sphere"))["chamfer"])


def test_the_classifier_reads_true_renders_and_a_front_on_every_side_is_found_out():
    data = Prompt(prompt="a red chair")
    cond = data.conditions(24, Rng(0))
    true = ViewAccuracy()(Orbit()(TrueScene("a red chair"), cond).value, cond, data)
    assert true["named"] > 0.9 and true["view_accuracy"] > 0.75 and true["janus"] < 0.15
    faces = ViewAccuracy()(Orbit()(TrueScene("a red chair", front_only=True), cond).value, cond, data)
    assert faces["janus"] > 0.6 and faces["view_accuracy"] < true["view_accuracy"]
    wrong = ViewAccuracy()(Orbit()(TrueScene("a blue box"), cond).value, cond, data)
    assert wrong["named"] == 0


def test_captions_become_choices_of_the_heads():
    cond = Prompt(prompt="a red torus on a blue box").conditions(8, Rng(0))
    found = {name: HEADS[name][int(choice[0])] for name, choice in targets(cond["text"]).items()}
    assert found == {"view": "front", "colour": "red", "shape": "torus", "below": "blue", "base": "box"}
    alone = targets(Prompt(prompt="a green cone").conditions(1, Rng(0))["text"])
    assert HEADS["base"][int(alone["base"])] == "" and len(VIEWS) == 4


def test_orbit_renders_scenes_only_and_counts_one_evaluation():
    cond = Prompt().conditions(3, Rng(0))
    sample = Orbit()(TrueScene("a red torus"), cond, steps=1, rng=Rng(0))
    assert sample.value.shape == (3, 3, SIZE, SIZE) and sample.evaluations == Orbit().evaluations(7) == 1
    with pytest.raises(LimbeckError, match="renders scenes; Linear is none"):
        Orbit()(torch.nn.Linear(1, 1), cond)


def test_renders_are_shown_eight_in_a_row_with_their_angles():
    cameras = orbit_cameras(9, CameraOptions())
    cond = Conditions(azimuth=cameras.azimuth, elevation=cameras.elevation)
    bare = renders(torch.zeros(9, 3, 8, 8))
    told = renders(torch.zeros(9, 3, 8, 8), cond)
    assert bare.count == 9 and bare.image.width == 8 * 68 + 4 and told.image.height == bare.image.height + 2 * 12
