import math

import numpy
import pytest
import torch

from limbeck_3d.data.prompt import Prompt
from limbeck_3d.geometry.solids import build
from limbeck_3d.metrics.surface import Chamfer, chamfer, surface_points
from limbeck_3d.scenes.voxels import Voxels


def test_chamfer_of_two_grids_is_half_of_both_directions():
    grid = numpy.stack(numpy.meshgrid(*[numpy.arange(5.0)] * 3), axis=-1).reshape(-1, 3)
    assert chamfer(grid, grid + numpy.array([0.25, 0, 0])) == pytest.approx(0.25)
    # one point against two, at distances 3 (near) and 7: from the one 3, from the two (3 + 7) / 2
    assert chamfer(numpy.zeros((1, 3)), numpy.array([[3.0, 0, 0], [0, 7.0, 0]])) == pytest.approx(0.5 * (3 + 5))


def test_points_lie_on_the_surface_and_are_the_same_every_time():
    mesh = build("a red sphere")
    points = surface_points(mesh, 500)
    assert numpy.abs(numpy.linalg.norm(points, axis=1) - 0.8).max() < 0.01
    assert (points == surface_points(mesh, 500)).all() and abs(points.mean()) < 0.05


def test_chamfer_of_a_filled_ball_of_voxels_is_the_difference_of_radii():
    scene = Voxels(grid=48).eval()
    line = (torch.arange(48) + 0.5) / 24 - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    radius = torch.sqrt(x**2 + y**2 + z**2)
    with torch.no_grad():
        scene.density.copy_((60 * (0.6 - radius))[None])
    found = Chamfer()(scene, None, Prompt(prompt="a red sphere"))["chamfer"]
    assert found == pytest.approx(0.8 - 0.6, abs=0.03)


def test_a_scene_without_a_surface_has_no_distance_and_a_reason():
    scene = Voxels(grid=8).eval()
    with torch.no_grad():
        scene.density.fill_(-30.0)
    with pytest.warns(UserWarning, match="chamfer is nan: the field is empty"):
        assert math.isnan(Chamfer()(scene, None, Prompt(prompt="a red sphere"))["chamfer"])
