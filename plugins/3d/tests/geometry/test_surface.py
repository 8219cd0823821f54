"""Surfaces of fields: where renders show them, closed, without floaters; refused where there is none."""

import math

import numpy as np
import pytest
import torch
from toy_scenes import block_scene, places

from limbeck.errors import LimbeckError, NonFinite
from limbeck.networks.scenes import Cameras
from limbeck_3d.exporters.turntable import render, views
from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.geometry.surface import mesh_field
from limbeck_3d.scenes.splats import Splats


def ball_field(radius=0.6, cells=32, sharp=40.0):
    x, y, z = places(cells)
    density = sharp * torch.sigmoid(15 * (radius - (x**2 + y**2 + z**2).sqrt()))
    return FieldGrid(density, torch.full((3, cells, cells, cells), 0.2))


def test_a_ball_becomes_a_closed_ball_of_its_radius():
    made = mesh_field(ball_field(), threshold=20.0)  # the sigmoid is 1/2 at r = 0.6
    assert made.mesh.is_watertight and made.pieces == 1 and made.warnings == ()
    assert made.mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.02)  # positive: faces look outwards
    radii = np.linalg.norm(made.mesh.vertices, axis=1)
    assert abs(radii.mean() - 0.6) < 0.005 and radii.std() < 0.005
    assert (made.mesh.visual.vertex_colors[:, :3] == 51).all()


@pytest.mark.parametrize("sigma", [3.0, 30.0])
def test_the_surface_of_soft_and_of_hard_matter_lies_where_renders_show_it(sigma):
    # a ball whose density falls from sigma to 0 around radius 0.6: half opaque where a ray at that distance from the
    # centre gathers an optical depth of log 2, 0.59 for sigma 3 and 0.66 for sigma 30
    x, y, z = places(32)
    inside = torch.sigmoid(40 * (0.6 - (x**2 + y**2 + z**2).sqrt()))
    made = mesh_field(FieldGrid(sigma * inside, torch.full((3, 32, 32, 32), 0.5)))
    distance, along = torch.linspace(0.4, 0.8, 401)[:, None], torch.linspace(-1, 1, 2001)
    depth = sigma * torch.sigmoid(40 * (0.6 - (distance**2 + along**2).sqrt())).mean(1) * 2
    seen = 0.4 + 0.001 * int((depth > math.log(2)).sum())
    assert np.linalg.norm(made.mesh.vertices, axis=1).mean() == pytest.approx(seen, abs=0.02)
    assert made.pieces == 1 and made.state.threshold < sigma


def test_what_touches_the_faces_of_the_cube_is_closed_there_with_a_warning():
    x, _, _ = places(16)
    made = mesh_field(FieldGrid(torch.where(x > 0, 100.0, 0.0), torch.full((3, 16, 16, 16), 0.5)))
    assert made.mesh.is_watertight
    assert made.mesh.volume == pytest.approx(4.0, rel=0.06)
    assert np.abs(made.mesh.vertices).max() <= 1
    assert "runs into the cube's faces" in made.warnings[0]


def test_floaters_are_left_out_and_counted():
    grid = block_scene(floater=True).field()
    made = mesh_field(grid, floaters=0.05)
    assert (made.pieces, made.dropped_pieces) == (2, 1)
    assert made.dropped_faces > 0 and "left out 1 of 2 pieces" in made.warnings[0]
    assert made.mesh.bounds[0].min() > -0.4
    kept = mesh_field(grid, floaters=0.0)
    assert kept.dropped_pieces == 0 and kept.mesh.bounds[0].min() < -0.8
    assert len(kept.mesh.faces) == len(made.mesh.faces) + made.dropped_faces


def test_a_cavity_is_not_a_floater():
    x, y, z = places(32)
    r = (x**2 + y**2 + z**2).sqrt()
    shell = FieldGrid(torch.where((r < 0.8) & (r > 0.5), 100.0, 0.0), torch.full((3, 32, 32, 32), 0.5))
    made = mesh_field(shell, floaters=0.05)
    assert (made.pieces, made.dropped_pieces) == (2, 0)
    assert made.mesh.volume == pytest.approx(4 / 3 * math.pi * (0.8**3 - 0.5**3), rel=0.05)


@pytest.mark.parametrize("scene", [block_scene(), Splats(count=40, start_opacity=0.9, start_scale=0.15)])
def test_the_mesh_of_a_scene_lies_where_its_renders_show_it(scene):
    mesh = mesh_field(scene.field()).mesh
    cond = views(3, azimuth=20.0, distance=4.0)
    alpha = render(scene, cond, size=24).alpha[:, 0] > 0.5
    inside = mesh.contains if hasattr(mesh, "contains") else None
    assert inside is not None
    cameras = Cameras.of(cond)
    axes, position, focal = cameras.axes().numpy(), cameras.position().numpy(), cameras.focal(24).numpy()
    for view in range(3):
        local = (mesh.vertices - position[view]) @ axes[view]
        column = 12 + focal[view] * local[:, 0] / -local[:, 2]
        row = 12 - focal[view] * local[:, 1] / -local[:, 2]
        rows, columns = np.nonzero(alpha[view].numpy())
        # a pixel is 0.06 wide there, a cell 0.083
        assert abs(column.min() - columns.min()) < 2 and abs(column.max() - columns.max() - 1) < 2
        assert abs(row.min() - rows.min()) < 2 and abs(row.max() - rows.max() - 1) < 2


def test_empty_full_and_broken_fields_are_refused_with_a_hint():
    empty, grey = torch.zeros(8, 8, 8), torch.full((3, 8, 8, 8), 0.5)
    with pytest.raises(
        LimbeckError, match=r"is empty: max density 0.1, and no ray has alpha 0.5 .highest 0.\d+.*guidance"
    ):
        mesh_field(FieldGrid(empty + 0.1, grey))
    with pytest.raises(LimbeckError, match=r"is empty: max density 0.1, threshold 3, 0 % of the cells above it"):
        mesh_field(FieldGrid(empty + 0.1, grey), threshold=3.0)
    assert len(mesh_field(FieldGrid(block_scene(8).field().density, grey), threshold=1.0).mesh.faces) > 0
    with pytest.raises(LimbeckError, match=r"is full: .*100 % of those on its faces.*random backgrounds"):
        mesh_field(FieldGrid(empty + 50, grey))
    empty[1, 2, 3] = float("nan")
    with pytest.raises(NonFinite, match="not finite.*earlier checkpoint"):
        mesh_field(FieldGrid(empty, grey))
