"""The volume renderer against answers known on paper, and against orientation."""

import math

import pytest
import torch

from limbeck.networks.scenes import Cameras
from limbeck_3d.rendering.compositing import compositing_weights, mean_depth
from limbeck_3d.rendering.volume import ball_span, cube_span, grid_field, trace, trilinear
from limbeck_3d.scenes.regularisers import alpha_entropy, border, distortion, sparsity, total_variation

F64 = torch.float64


def rays(*pairs):
    origins, directions = zip(*pairs, strict=True)
    directions = torch.nn.functional.normalize(torch.tensor(directions, dtype=F64), dim=-1)
    return torch.tensor(origins, dtype=F64), directions


def test_weights_and_what_is_left_for_the_background_sum_to_one():
    depth = torch.rand(7, 20, dtype=F64, generator=torch.Generator().manual_seed(0)) * 0.5
    weights, left = compositing_weights(depth)
    torch.testing.assert_close(weights.sum(-1) + left, torch.ones(7, dtype=F64), rtol=0, atol=1e-14)
    assert float(left.min()) > 0.001 and float(left.max()) < 0.05  # neither is trivially all of it


def test_weights_are_transmittance_times_alpha():
    alpha = torch.tensor([0.5, 0.25, 0.8], dtype=F64)
    weights, left = compositing_weights(-torch.log1p(-alpha))
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5 * 0.25, 0.375 * 0.8], dtype=F64))
    assert float(left) == pytest.approx(0.075)
    depth = mean_depth(weights, torch.tensor([1.0, 2.0, 3.0], dtype=F64), 1 - left)
    assert float(depth) == pytest.approx((0.5 + 0.25 + 0.9) / 0.925)


def test_rays_enter_and_leave_the_cube_where_geometry_says():
    origins, directions = rays(
        ((0, 0, 3), (0, 0, -1)),  # through the middle
        ((0, 0, 0), (1, 1, 0)),  # from inside: starts at 0, leaves through an edge
        ((0, 5, 3), (0, 0, -1)),  # passes by
        ((0, 0, 3), (0, 0, 1)),  # looks away
        ((1, 0.5, 3), (0, 0, -1)),  # in the plane of a face
    )
    near, far = cube_span(origins, directions)
    torch.testing.assert_close(near[:2], torch.tensor([2.0, 0.0], dtype=F64))
    torch.testing.assert_close(far[:2], torch.tensor([4.0, math.sqrt(2)], dtype=F64))
    assert (near[2:4] == far[2:4]).all() and not near.isnan().any() and not far.isnan().any()


def test_rays_enter_and_leave_the_ball_where_geometry_says():
    origins, directions = rays(
        ((0, 0.6, 3), (0, 0, -1)), ((0, 0, 0), (0, 1, 1)), ((0, 1.1, 3), (0, 0, -1)), ((0, 0, 3), (0, 0, 1))
    )
    near, far = ball_span(origins, directions)
    torch.testing.assert_close(near[:2], torch.tensor([2.2, 0.0], dtype=F64))
    torch.testing.assert_close(far[:2], torch.tensor([3.8, 1.0], dtype=F64))
    assert (near[2:] == far[2:]).all()
    density = torch.full((4, 4, 4), 0.7, dtype=F64)
    field = grid_field(density, torch.zeros(3, 4, 4, 4, dtype=F64))
    seen = trace(field, origins, directions, torch.zeros(3, 4, dtype=F64), samples=5, span=ball_span)
    torch.testing.assert_close(
        seen.alpha, torch.tensor([1 - math.exp(-0.7 * 1.6), 1 - math.exp(-0.7), 0, 0], dtype=F64)
    )


@pytest.mark.parametrize("samples", [1, 5, 64])
def test_a_constant_field_has_its_colour_and_the_opacity_of_the_chord(samples):
    # sigma = 0.7 along the chord from (-1, y) to (1, y + 1): length sqrt(5), whatever the number of samples
    density = torch.full((4, 4, 4), 0.7, dtype=F64)
    color = torch.tensor([0.3, -0.6, 0.9], dtype=F64)[:, None, None, None].expand(3, 4, 4, 4)
    origins, directions = rays(((-3, -1.5, 0), (2, 1, 0)), ((0, 3, 3), (0, 0, -1)))
    background = torch.tensor([[-1.0], [1.0], [0.0]], dtype=F64).expand(3, 2)
    seen = trace(grid_field(density, color), origins, directions, background, samples=samples)
    alpha = 1 - math.exp(-0.7 * math.sqrt(5))
    torch.testing.assert_close(seen.alpha, torch.tensor([alpha, 0.0], dtype=F64))
    expected = alpha * color[:, 0, 0, 0] + (1 - alpha) * background[:, 0]
    torch.testing.assert_close(seen.color[:, 0], expected)
    torch.testing.assert_close(seen.color[:, 1], background[:, 1])  # the ray that misses sees the background
    assert float(seen.depth[1]) == 0


def test_the_depth_of_a_wall_is_where_it_stands():
    density = torch.zeros(20, 20, 20, dtype=F64)
    density[:10] = 1e3  # opaque for z < 0
    field = grid_field(density, torch.zeros(3, 20, 20, 20, dtype=F64))
    origins, directions = rays(((0.1, 0.1, 3), (0, 0, -1)))
    seen = trace(field, origins, directions, torch.zeros(3, 1, dtype=F64), samples=200)
    assert float(seen.depth) == pytest.approx(3.0, abs=0.06)  # half a cell of 0.1 and a piece of 0.01


def test_samples_converge_to_the_integral_with_the_square_of_their_number():
    # density exp(-r^2 / 2 s^2) along the axis: optical depth s sqrt(2 pi) erf(1 / (s sqrt 2))
    s = 0.4

    def field(points):
        return torch.exp(-points.square().sum(-1) / (2 * s * s)), torch.zeros(3, *points.shape[:-1], dtype=F64)

    origins, directions = rays(((0, 0, 3), (0, 0, -1)))
    exact = 1 - math.exp(-s * math.sqrt(2 * math.pi) * math.erf(1 / (s * math.sqrt(2))))
    errors = [
        abs(float(trace(field, origins, directions, torch.zeros(3, 1, dtype=F64), samples=k).alpha) - exact)
        for k in (8, 16, 32)
    ]
    assert 1e-5 < errors[0] < 1e-2
    assert errors[0] / errors[1] > 3.5 and errors[1] / errors[2] > 3.5


def test_stratified_samples_lie_in_their_pieces():
    where = []

    def field(points):
        where.append(points)
        return points[..., 0] * 0 + 1, torch.zeros(3, *points.shape[:-1], dtype=F64)

    origins, directions = rays(((0, 0, 3), (0, 0, -1)))
    for jitter in (torch.zeros(1), torch.full((1, 4), 0.75)):
        trace(field, origins, directions, torch.zeros(3, 1, dtype=F64), samples=4, jitter=jitter.double())
    torch.testing.assert_close(where[0][0, :, 2], torch.tensor([1.0, 0.5, 0.0, -0.5], dtype=F64))
    torch.testing.assert_close(where[1][0, :, 2], torch.tensor([0.625, 0.125, -0.375, -0.875], dtype=F64))


def test_values_sit_in_the_centres_of_cells_on_axes_z_y_x():
    grid = torch.arange(4 * 4 * 4, dtype=F64).reshape(1, 4, 4, 4)
    points = torch.tensor([[-0.75, -0.75, -0.75], [0.25, -0.25, 0.75], [-0.5, -0.75, -0.75]], dtype=F64)  # x, y, z
    found = trilinear(grid, points)[0]
    torch.testing.assert_close(found, torch.tensor([0.0, 3 * 16 + 1 * 4 + 2, 0.5], dtype=F64))


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    origins, directions = rays(((0.2, 0.3, 3), (0.1, -0.2, -1)), ((3, 0.1, 0), (-1, 0.1, 0.2)), ((0, 9, 0), (1, 0, 0)))
    background = torch.rand(3, 3, dtype=F64)

    def render(density, color):
        seen = trace(grid_field(density.exp(), color), origins, directions, background, samples=6)
        return seen.color, seen.alpha, seen.depth

    density = torch.randn(3, 3, 3, dtype=F64, requires_grad=True)
    color = torch.randn(3, 3, 3, 3, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(render, (density, color))


def camera(azimuth=0.0, elevation=0.0, distance=4.0, fov=40.0, rows=1):
    def one(value):
        return torch.full((rows,), value, dtype=F64)

    return Cameras(azimuth=one(azimuth), elevation=one(elevation), distance=one(distance), fov=one(fov))


def seen_at(point, cameras, size=33):
    """Row and column (in [0, size)) of the middle of a small opaque ball at `point`, by the volume renderer."""
    centre = torch.tensor(point, dtype=F64)

    def field(points):
        near = torch.exp(-((points - centre).square().sum(-1)) / (2 * 0.08**2))
        return 20 * near, torch.zeros(3, *points.shape[:-1], dtype=F64)

    origins, directions = cameras.rays(size, size)
    origins = origins.expand_as(directions).reshape(-1, 3)
    seen = trace(field, origins, directions.reshape(-1, 3), torch.zeros(3, size * size, dtype=F64), samples=128)
    alpha = seen.alpha.reshape(size, size)
    line = torch.arange(size, dtype=F64) + 0.5
    return float((alpha.sum(1) * line).sum() / alpha.sum()), float((alpha.sum(0) * line).sum() / alpha.sum())


@pytest.mark.parametrize(
    ("azimuth", "elevation", "point", "side"),
    [
        (0, 0, (0.6, 0, 0), "right"),
        (0, 0, (0, 0.6, 0), "top"),
        (0, 0, (-0.6, 0, 0), "left"),
        (90, 0, (0, 0, 0.6), "left"),  # from the right side, the front is to the left
        (180, 0, (0.6, 0, 0), "left"),
        (270, 0, (0, 0, 0.6), "right"),
        (0, 60, (0, 0, 0.6), "bottom"),  # from above, the front is below
        (0, 90, (0.6, 0, 0), "right"),  # even straight from above
    ],
)
def test_cameras_show_the_world_from_where_they_say(azimuth, elevation, point, side):
    row, column = seen_at(point, camera(float(azimuth), float(elevation)))
    middle = 16.5
    across, down = column - middle, row - middle
    expected = {"right": across > 3, "left": across < -3, "top": down < -3, "bottom": down > 3}
    assert expected[side], (across, down)
    minor = down if side in ("left", "right") else across
    assert abs(minor) < 0.1


def test_a_point_lands_where_the_focal_length_says():
    row, column = seen_at((0.5, -0.25, 0.0), camera())
    focal = 0.5 * 33 / math.tan(math.radians(20))
    assert column == pytest.approx(16.5 + focal * 0.5 / 4, abs=0.1)
    assert row == pytest.approx(16.5 + focal * 0.25 / 4, abs=0.1)


def test_distortion_equals_its_double_sum():
    weights = torch.rand(3, 9, dtype=F64, generator=torch.Generator().manual_seed(1)) / 9
    middle = (torch.arange(9, dtype=F64) + 0.5) / 9
    pairs = torch.einsum("ri,rj,ij->r", weights, weights, (middle[:, None] - middle[None]).abs())
    torch.testing.assert_close(distortion(weights), pairs + weights.square().sum(-1) / 27)


def test_regularisers_of_simple_fields_are_known():
    half = torch.full((2, 1, 4, 4), 0.5, dtype=F64)
    torch.testing.assert_close(alpha_entropy(half), torch.ones(2, dtype=F64))
    assert float(alpha_entropy(torch.ones(1, 1, 2, 2)).max()) < 0.01
    step = torch.zeros(1, 1, 4, 4, 4, dtype=F64)
    step[..., 2:] = 1.0  # one of three differences along x
    torch.testing.assert_close(total_variation(step), torch.tensor([1 / 3], dtype=F64))
    torch.testing.assert_close(sparsity(torch.full((1, 2, 2, 2), math.sqrt(0.5))), torch.ones(1))
    inside = torch.zeros(1, 5, 5, 5, dtype=F64)
    inside[:, 1:-1, 1:-1, 1:-1] = 9.0
    assert float(border(inside, 0.4)) == 0
    torch.testing.assert_close(border(inside + 1, 0.4), torch.tensor([1 - math.exp(-0.4)], dtype=F64))
