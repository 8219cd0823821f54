"""Gaussian splatting against answers known on paper, against the volume renderer, and against gsplat where it works."""

import math

import pytest
import torch

from limbeck.networks.scenes import Cameras
from limbeck_3d.rendering import gsplat as gsplat_backend
from limbeck_3d.rendering.splatting import (
    BLUR,
    Gaussians,
    covariances,
    density_amplitude,
    density_at,
    density_grid,
    project,
    rotation,
    splat,
)
from limbeck_3d.rendering.volume import trace

F64 = torch.float64


def camera(azimuth=0.0, elevation=0.0, distance=4.0, fov=40.0, rows=1):
    def one(value):
        return torch.full((rows,), value, dtype=F64)

    return Cameras(azimuth=one(azimuth), elevation=one(elevation), distance=one(distance), fov=one(fov))


def some(count, seed=0, spread=0.4):
    made = torch.Generator().manual_seed(seed)
    return Gaussians(
        means=spread * torch.randn(count, 3, generator=made, dtype=F64),
        quaternions=torch.randn(count, 4, generator=made, dtype=F64),
        scales=0.05 + 0.15 * torch.rand(count, 3, generator=made, dtype=F64),
        opacity=0.1 + 0.85 * torch.rand(count, generator=made, dtype=F64),
        rgb=torch.rand(count, 3, generator=made, dtype=F64),
    )


def one(mean=(0, 0, 0), quaternion=(1, 0, 0, 0), scales=(0.2, 0.2, 0.2), opacity=0.7, rgb=(1, 0, 0)):
    def row(values):
        return torch.tensor([values], dtype=F64)

    return Gaussians(row(mean), row(quaternion), row(scales), row(opacity).reshape(1), row(rgb))


def joined(*parts):
    return Gaussians(*(torch.cat([getattr(p, f) for p in parts]) for f in Gaussians.__dataclass_fields__))


BLACK = torch.zeros(1, 3, dtype=F64)


def test_one_gaussian_in_the_middle_is_the_2d_gaussian_of_theory():
    size, s, distance, opacity = 24, 0.2, 4.0, 0.7
    image, alpha, depth = splat(one(opacity=opacity), camera(distance=distance), BLACK, height=size, width=size)
    focal = 0.5 * size / math.tan(math.radians(20))
    variance = (focal * s / distance) ** 2 + BLUR
    line = torch.arange(size, dtype=F64) + 0.5 - size / 2
    r2 = line[:, None] ** 2 + line[None] ** 2
    expected = opacity * torch.exp(-r2 / (2 * variance))
    torch.testing.assert_close(alpha[0, 0], expected, rtol=1e-9, atol=1e-9)
    assert float(expected.max()) > 0.6 and float(expected.min()) < 1e-3
    torch.testing.assert_close(image[0, 0], expected, rtol=1e-9, atol=1e-9)
    assert float(image[0, 1:].abs().max()) < 1e-12
    seen = expected > 1e-3
    torch.testing.assert_close(depth[0, 0][seen], torch.full_like(expected, distance)[seen])


def test_a_shadows_covariance_is_that_of_the_projection_made_linear():
    gaussians, cameras = some(5, spread=0.3), camera(azimuth=35.0, elevation=20.0, distance=3.0)
    height, width = 20, 30
    axes, position, focal = cameras.axes()[0], cameras.position()[0], cameras.focal(height)[0]

    def to_pixels(point):
        x, y, back = axes.T @ (point - position)
        return torch.stack([width / 2 + focal * x / -back, height / 2 - focal * y / -back])

    shadows = project(gaussians, cameras, height, width)
    full = covariances(gaussians.quaternions, gaussians.scales)
    for n in range(5):
        jacobian = torch.autograd.functional.jacobian(to_pixels, gaussians.means[n])
        torch.testing.assert_close(shadows.means[0, n], to_pixels(gaussians.means[n]))
        expected = jacobian @ full[n] @ jacobian.T + BLUR * torch.eye(2, dtype=F64)
        torch.testing.assert_close(shadows.covariance[0, n], expected)


def test_quaternions_have_w_first_and_turn_by_the_right_hand():
    quarter = math.sqrt(0.5)
    about_z = rotation(torch.tensor([quarter, 0.0, 0.0, quarter], dtype=F64))
    torch.testing.assert_close(about_z @ torch.tensor([1.0, 0, 0], dtype=F64), torch.tensor([0.0, 1, 0], dtype=F64))
    long_x = one(scales=(0.4, 0.05, 0.05))
    upright = one(scales=(0.4, 0.05, 0.05), quaternion=(quarter, 0, 0, quarter))
    lying = splat(long_x, camera(), BLACK, height=17, width=17)[1][0, 0]
    standing = splat(upright, camera(), BLACK, height=17, width=17)[1][0, 0]
    assert float(lying[8, 12]) > 10 * float(lying[12, 8])
    torch.testing.assert_close(standing, lying.T, rtol=1e-6, atol=1e-9)


def test_the_order_in_which_gaussians_are_stored_does_not_matter():
    gaussians = some(12)
    other = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    shuffled = Gaussians(*(getattr(gaussians, f)[other] for f in Gaussians.__dataclass_fields__))
    cameras = camera(azimuth=30.0, rows=2)
    background = torch.rand(2, 3, dtype=F64)
    for a, b in zip(
        splat(gaussians, cameras, background, height=9, width=11),
        splat(shuffled, cameras, background, height=9, width=11),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_the_nearer_gaussian_hides_the_other_and_alpha_stops_at_0_99():
    red, blue = one(mean=(0, 0, 0.5), opacity=0.9999), one(mean=(0, 0, -0.5), opacity=0.9999, rgb=(0, 0, 1))
    front = splat(joined(blue, red), camera(), BLACK, height=5, width=5)[0][0, :, 2, 2]
    torch.testing.assert_close(front, torch.tensor([0.99, 0.0, 0.01 * 0.99], dtype=F64))
    behind = splat(joined(blue, red), camera(azimuth=180.0), BLACK, height=5, width=5)[0][0, :, 2, 2]
    torch.testing.assert_close(behind, torch.tensor([0.01 * 0.99, 0.0, 0.99], dtype=F64))
    white = splat(red, camera(), torch.ones(1, 3, dtype=F64), height=5, width=5)[0][0, :, 2, 2]
    torch.testing.assert_close(white, torch.tensor([1.0, 0.01, 0.01], dtype=F64))


def test_what_is_behind_the_camera_is_not_drawn_and_faint_edges_can_be_skipped():
    assert float(splat(one(mean=(0, 0, 6)), camera(), BLACK, height=5, width=5)[1].max()) == 0
    kept = splat(one(), camera(), BLACK, height=24, width=24)[1]
    skipped = splat(one(), camera(), BLACK, height=24, width=24, skip_below=1 / 255)[1]
    faint = kept < 1 / 255
    assert 0 < int(faint.sum()) < faint.numel()
    assert float(skipped[faint].max()) == 0
    torch.testing.assert_close(skipped[~faint], kept[~faint])


def test_gradients_agree_with_finite_differences():
    gaussians, cameras = some(3, seed=5), camera(azimuth=20.0, elevation=15.0)
    background = torch.rand(1, 3, dtype=F64)

    def render(means, quaternions, log_scales, logits, rgb):
        made = Gaussians(means, quaternions, log_scales.exp(), logits.sigmoid(), rgb)
        return splat(made, cameras, background, height=4, width=5)

    inputs = (gaussians.means, gaussians.quaternions, gaussians.scales.log(), gaussians.opacity.logit(), gaussians.rgb)
    assert torch.autograd.gradcheck(render, [x.clone().requires_grad_() for x in inputs])


def volume_of(gaussians, cameras, size, background, samples=256):
    """The same Gaussians as a density, by the volume renderer."""

    def field(points):
        density, color = density_at(gaussians, points.reshape(-1, 3))
        return density.reshape(points.shape[:-1]), color.reshape(3, *points.shape[:-1])

    origins, directions = cameras.rays(size, size)
    origins = origins.expand_as(directions).reshape(-1, 3)
    ground = background.T.expand(3, size * size)
    seen = trace(field, origins, directions.reshape(-1, 3), ground, samples=samples)
    return seen.color.reshape(1, 3, size, size), seen.alpha.reshape(1, 1, size, size)


@pytest.mark.parametrize("opacity", [0.05, 0.3, 0.8])
def test_splats_and_volumes_agree_on_a_gaussian_ball(opacity):
    # optical depth adds up to -log(1 - o) exp(-q/2) along a ray, so alpha = 1 - (1 - o)^exp(-q/2), where a splat has
    # o exp(-q/2). Left over: perspective, and the blur of 0.3 px^2 on a shadow of 3.0^2 px^2, 3.3 % of its variance,
    # which changes tau exp(-q/2) by 0.033 tau max(q/2 exp(-q/2)) = 0.012 tau.
    size, ball = 32, one(opacity=opacity, scales=(0.25, 0.25, 0.25))
    cameras = camera(azimuth=25.0, elevation=10.0, distance=6.0, fov=25.0)
    splatted = splat(ball, cameras, BLACK, height=size, width=size)[1]
    alpha = volume_of(ball, cameras, size, BLACK)[1]
    assert float(density_amplitude(ball.opacity, ball.scales)) == pytest.approx(
        -math.log(1 - opacity) / (0.25 * math.sqrt(2 * math.pi))
    )
    related = 1 - (1 - opacity) ** (splatted / opacity)
    allowed = 0.013 * -math.log(1 - opacity)
    torch.testing.assert_close(alpha, related, rtol=0, atol=allowed)
    shape = torch.linspace(0, 1, 1001)
    gap = float((1 - (1 - opacity) ** shape - opacity * shape).max())  # what the two laws differ by at the most
    worst = float((alpha - splatted).abs().max())
    assert 0.5 * gap < worst < gap + allowed


def test_splats_and_volumes_agree_on_two_coloured_balls():
    near, far = one((0.1, 0, 0.45), opacity=0.15), one((-0.1, 0.1, -0.45), opacity=0.3, rgb=(0.1, 0.9, 0.4))
    cameras, background = camera(distance=6.0, fov=25.0), torch.tensor([[0.2, 0.2, 1.0]], dtype=F64)
    both = joined(far, near)
    image, _, _ = splat(both, cameras, background, height=24, width=24)
    other, _ = volume_of(both, cameras, 24, background)
    assert float(image.std(dim=(2, 3)).min()) > 0.01  # there is something to see in every channel
    # law of opacity (0.015 at o = 0.3) and perspective: they stand at 0.925 and 1.075 of the distance
    torch.testing.assert_close(other, image, rtol=0, atol=0.02)


def test_the_grid_holds_the_densities_of_its_points():
    gaussians = some(6)
    density, color = density_grid(gaussians, 20)
    line = (torch.arange(20, dtype=F64) + 0.5) / 10 - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    there, colored = density_at(gaussians, torch.stack([x, y, z], dim=-1).reshape(-1, 3))
    torch.testing.assert_close(density.flatten(), there, rtol=1e-3, atol=1e-3)
    assert float(there.max()) > 5
    thick = there > 1
    torch.testing.assert_close(color.flatten(1)[:, thick], colored[:, thick], rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_gsplat_renders_the_same_image():
    if (reason := gsplat_backend.missing()) is not None:
        pytest.skip(reason)
    gaussians, cameras = some(50), camera(azimuth=30.0, elevation=20.0, rows=2)
    gpu = Gaussians(*(getattr(gaussians, f).float().cuda() for f in Gaussians.__dataclass_fields__))
    cameras = Cameras(**{f: getattr(cameras, f).float().cuda() for f in Cameras.__dataclass_fields__})
    background = torch.tensor([[0.1, 0.5, 0.9]] * 2).cuda()
    ours = splat(gpu, cameras, background, height=64, width=64, skip_below=1 / 255)
    theirs = gsplat_backend.splat(gpu, cameras, background, height=64, width=64)
    # gsplat stops at transmittance 1e-4 and cuts shadows to tiles by their radius
    torch.testing.assert_close(theirs[0], ours[0], rtol=0, atol=5e-3)
    torch.testing.assert_close(theirs[1], ours[1], rtol=0, atol=5e-3)
