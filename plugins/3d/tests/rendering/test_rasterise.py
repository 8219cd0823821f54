import pytest
import torch
import trimesh

from limbeck.networks.scenes import Cameras
from limbeck_3d.geometry import solids
from limbeck_3d.rendering.rasterise import AMBIENT, LIGHT, Surface, over, rasterise, shading


def cameras(azimuth, elevation=0.0, distance=3.0, fov=40.0):
    azimuth = torch.as_tensor(azimuth, dtype=torch.float32).reshape(-1)
    return Cameras(
        azimuth=azimuth,
        elevation=torch.as_tensor(elevation, dtype=torch.float32).expand_as(azimuth).clone(),
        distance=torch.full_like(azimuth, distance),
        fov=torch.full_like(azimuth, fov),
    )


def ball(centre, radius, colour=(1.0, 0.0, 0.0)) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    mesh.apply_translation(centre)
    faces = torch.as_tensor(mesh.faces.copy())
    return Surface(
        torch.as_tensor(mesh.vertices.copy(), dtype=torch.float32),
        faces,
        torch.tensor(colour).expand(len(faces), 3),
        torch.zeros(len(faces), dtype=torch.int64),
    )


def test_a_ball_covers_the_rays_that_meet_it_at_the_distance_where_they_do():
    # |o + s d - c| = r:  s = -d.(o - c) - sqrt((d.(o - c))^2 - |o - c|^2 + r^2), from the rays of
    # limbeck.networks.scenes
    centre, radius, where = torch.tensor([0.3, 0.2, -0.1]), 0.5, cameras([0.0, 70.0, 200.0], [10.0, -20.0, 80.0])
    seen = rasterise(ball(centre.numpy(), radius), where, 48, supersample=1)
    origins, directions = where.rays(48, 48)
    away = origins - centre
    across = (directions * away).sum(-1)
    inside = across**2 - away.square().sum(-1) + radius**2
    clear = inside.abs() > 4e-3  # not at the rim, where facets decide
    assert torch.equal(seen.alpha[:, 0][clear] > 0.5, (inside > 0)[clear])
    assert 0.03 < (inside > 0).float().mean() < 0.5
    depth = -across - inside.clamp_min(0).sqrt()
    deep = inside > 0.02
    torch.testing.assert_close(seen.depth[:, 0][deep], depth[deep], rtol=0, atol=3e-3)


def test_a_thing_at_the_right_is_at_the_right_and_a_thing_above_is_above():
    def middle(surface, azimuth, elevation=0.0):
        alpha = rasterise(surface, cameras([azimuth], elevation), 32).alpha[0, 0]
        rows, columns = alpha.nonzero(as_tuple=True)
        return rows.float().mean().item(), columns.float().mean().item()

    right, above = ball([0.5, 0, 0], 0.1), ball([0, 0.5, 0], 0.1)
    assert middle(right, 0.0)[1] > 22 and abs(middle(right, 90.0)[1] - 15.5) < 0.6 and middle(right, 180.0)[1] < 9
    assert middle(above, 0.0)[0] < 9 and middle(above, 180.0)[0] < 9
    front = ball([0, 0, 0.5], 0.1)
    assert middle(front, 0.0, 60.0)[0] > 20  # from above, what is in front is at the bottom


def test_the_nearer_of_two_faces_is_seen_whatever_their_order():
    near = torch.tensor([[-0.5, -0.5, 0.4], [0.5, -0.5, 0.4], [0.0, 0.6, 0.4]])
    vertices = torch.cat([near, near * torch.tensor([1.0, 1.0, -1.0])])
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for order in ([0, 1], [1, 0]):
        faces = torch.arange(6).reshape(2, 3)[order]
        seen = rasterise(
            Surface(vertices, faces, colours[order], torch.tensor(order)), cameras([0.0, 180.0]), 16, parts=2
        )
        assert seen.colour[0, 0, 8, 8] > 0.4 and seen.colour[0, 2, 8, 8] == 0
        assert seen.colour[1, 2, 8, 8] > 0.4 and seen.colour[1, 0, 8, 8] == 0
        assert seen.shade[0, 0, 8, 8] > 0 and seen.shade[0, 1, 8, 8] == 0


def test_edges_are_smoothed_by_the_share_of_a_pixel_that_is_covered():
    # a square of known size on screen: its area in pixels is the sum of alpha
    half, z = 0.37, 0.0
    vertices = torch.tensor([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    square = Surface(
        vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64)
    )
    where = cameras([0.0])
    side = 2 * half * float(where.focal(32)[0]) / 3.0
    seen = rasterise(square, where, 32, supersample=8)
    assert seen.alpha.sum().item() == pytest.approx(side**2, rel=0.02)
    torch.testing.assert_close(seen.colour[0, :1], seen.alpha[0] * seen.colour[0, 0, 16, 16])


def test_shading_is_wrapped_lambert_and_does_not_depend_on_winding():
    light = torch.nn.functional.normalize(torch.tensor(LIGHT), dim=0)
    normals = torch.stack([light, -light, torch.linalg.cross(light, torch.tensor([1.0, 0.0, 0.0]))])
    normals = torch.nn.functional.normalize(normals, dim=-1)
    view = normals[None]  # looked at from where they face
    expected = torch.tensor([[1.0, AMBIENT, 0.5 * (1 + AMBIENT)]])
    torch.testing.assert_close(shading(normals, view), expected)
    torch.testing.assert_close(shading(-normals, view), expected)
    torch.testing.assert_close(shading(normals, view, "camera"), torch.ones(1, 3))


def test_an_image_is_put_over_its_background():
    colour, alpha = torch.tensor([0.3, 0.0, 0.1]).reshape(1, 3, 1, 1), torch.full((1, 1, 1, 1), 0.5)
    found = over(colour, alpha, torch.tensor([[-1.0, 0.0, 1.0]]))
    # in [0, 1]: colour + (1 - alpha) background = 0.3 + 0, 0 + 0.25, 0.1 + 0.5
    torch.testing.assert_close(found.flatten(), 2 * torch.tensor([0.3, 0.25, 0.6]) - 1)


def test_cameras_taken_together_or_apart_see_the_same():
    surface = solids.surface(solids.build("a red torus on a blue box"))
    where = cameras(torch.linspace(0, 300, 5), torch.linspace(-20, 60, 5))
    whole = rasterise(surface, where, 24)
    for row in range(5):
        one = rasterise(surface, cameras(where.azimuth[row : row + 1], where.elevation[row : row + 1]), 24)
        torch.testing.assert_close(one.colour[0], whole.colour[row], rtol=0, atol=1e-5)


def test_a_mesh_that_reaches_the_camera_is_refused():
    with pytest.raises(ValueError, match="reaches the camera"):
        rasterise(ball([0, 0, 0], 3.1), cameras([0.0]), 16)


def test_silhouettes_are_those_of_the_volume_renderer():
    # a filled box in a fine grid, rendered by limbeck_3d's voxels, against the mesh of the same box
    from limbeck.conditions import Conditions
    from limbeck_3d.scenes.voxels import Voxels

    half = 0.5
    scene = Voxels(grid=64, size=48, samples=128).eval()
    line = (torch.arange(64) + 0.5) / 32 - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    inside = (x.abs() < half) & (y.abs() < 0.5 * half) & (z.abs() < 0.75 * half)
    with torch.no_grad():
        scene.density.copy_(torch.where(inside, 1.2, -50.0)[None])  # some 15 per unit: a thin haze around
    mesh = trimesh.creation.box([2 * half, half, 1.5 * half])
    where = cameras([0.0, 40.0, 130.0, 250.0], [0.0, 30.0, -15.0, 70.0])
    cond = Conditions(azimuth=where.azimuth, elevation=where.elevation, distance=where.distance, fov=where.fov)
    with torch.no_grad():
        volume = scene(cond).alpha > 0.5
    flat = rasterise(solids.surface(mesh), where, 48).alpha > 0.5
    iou = (volume & flat).flatten(1).sum(1) / (volume | flat).flatten(1).sum(1)
    assert iou.min() > 0.94, iou
