"""Gaussian splatting in plain torch: every Gaussian on every pixel, with the semantics of gsplat.

A Gaussian is a mean, a quaternion (w first), standard deviations along its axes (kept as logs), an opacity (kept as a
logit) and a colour. Its shadow on the image is a 2D Gaussian (EWA projection; Zwicker et al. 2002; Kerbl et al. 2023,
Eq. 5), widened by 0.3 px^2; shadows are composited front to back in the order of the means' depths:

    Sigma' = J W R S S^T R^T W^T J^T + 0.3 I,    alpha = min(0.99, o exp(-q / 2)),  q = d^T Sigma'^-1 d

Letters: B views, N Gaussians, H W pixels. Pixel centres lie at half integers. Costs B N H W operations and memory.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.networks.scenes import Cameras
from limbeck_3d.rendering.compositing import compositing_weights, mean_depth

BLUR = 0.3  # px^2, added to the shadow's covariance
MOST_OPAQUE = 0.99
NEAR = 0.01  # nothing nearer to the camera's plane is drawn
SH0 = 0.5 / math.sqrt(math.pi)  # the spherical harmonic of degree 0: rgb = 0.5 + SH0 * coefficient


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians: means (N, 3), quaternions (N, 4) w first (any length), scales (N, 3) standard deviations, opacity
    (N,) in [0, 1], rgb (N, C)."""

    means: Tensor
    quaternions: Tensor
    scales: Tensor
    opacity: Tensor
    rgb: Tensor

    def __len__(self) -> int:
        return self.means.shape[0]


@dataclass(frozen=True)
class Shadows:
    """Gaussians on B images: means (B, N, 2) in pixels (x, y), covariance (B, N, 2, 2) in px^2 with the blur, depth
    (B, N) along the camera's axis."""

    means: Tensor
    covariance: Tensor
    depth: Tensor


def rotation(quaternions: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) of quaternions (N, 4), w first, of any length but 0."""
    w, x, y, z = F.normalize(quaternions, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).reshape(*quaternions.shape[:-1], 3, 3)


def covariances(quaternions: Tensor, scales: Tensor) -> Tensor:
    """R S S^T R^T, (N, 3, 3)."""
    factor = rotation(quaternions) * scales[..., None, :]
    return factor @ factor.mT


def project(gaussians: Gaussians, cameras: Cameras, height: int, width: int) -> Shadows:
    """Shadows of Gaussians on the images of B cameras (EWA: the projection is linear around every mean).

    As in gsplat, the place at which it is made linear is kept within 1.3 times the field of view.
    """
    axes = cameras.axes()  # (B, 3, 3): right, up, back as columns
    world_to_camera = torch.stack([axes[..., 0], -axes[..., 1], -axes[..., 2]], dim=-2)  # x right, y down, z forward
    local = torch.einsum("bij,bnj->bni", world_to_camera, gaussians.means - cameras.position()[:, None])
    x, y, z = local.unbind(-1)
    depth, z = z, z.clamp_min(NEAR)
    focal = cameras.focal(height)[:, None]
    centre = torch.stack([focal * x / z + 0.5 * width, focal * y / z + 0.5 * height], dim=-1)

    most_x, most_y = 1.3 * 0.5 * width / focal, 1.3 * 0.5 * height / focal
    u, v = torch.clamp(x / z, -most_x, most_x), torch.clamp(y / z, -most_y, most_y)
    one, zero = focal / z, torch.zeros_like(z)
    jacobian = torch.stack([one, zero, -one * u, zero, one, -one * v], dim=-1).reshape(*z.shape, 2, 3)
    map2d = jacobian @ world_to_camera[:, None]  # (B, N, 2, 3)
    covariance = map2d @ covariances(gaussians.quaternions, gaussians.scales) @ map2d.mT
    blur = BLUR * torch.eye(2, dtype=covariance.dtype, device=covariance.device)
    return Shadows(centre, covariance + blur, depth)


def shadow_opacity(shadows: Shadows, opacity: Tensor, height: int, width: int, skip_below: float = 0.0) -> Tensor:
    """alpha (B, H, W, N) of every shadow in every pixel; opacity (N,), or what goes with (B, H, W, N)."""
    a, b, c = shadows.covariance[..., 0, 0], shadows.covariance[..., 0, 1], shadows.covariance[..., 1, 1]
    determinant = a * c - b * b
    like = shadows.means
    # d = pixel - mean falls apart into columns and rows
    dx = (torch.arange(width, dtype=like.dtype, device=like.device) + 0.5)[None, :, None] - like[:, None, :, 0]
    dy = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5)[None, :, None] - like[:, None, :, 1]
    across = dx.square() * (-0.5 * c / determinant)[:, None]  # (B, W, N)
    down = dy.square() * (-0.5 * a / determinant)[:, None]  # (B, H, N)
    both = dx * (b / determinant)[:, None]
    exponent = torch.addcmul(across[:, None] + down[:, :, None], both[:, None], dy[:, :, None])  # -q / 2
    opacity = opacity * (shadows.depth > NEAR)[:, None, None]
    # far out: exp(-30) instead of numbers so small that processors take ten times as long over them
    alpha = (opacity * exponent.clamp_min(-30).exp_()).clamp_max(MOST_OPAQUE)
    return torch.where(alpha >= skip_below, alpha, 0.0) if skip_below > 0 else alpha


def splat(
    gaussians: Gaussians, cameras: Cameras, background: Tensor, *, height: int, width: int, skip_below: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Render Gaussians for B cameras.

    Args:
        background: (B, C), in the units of `gaussians.rgb`.
        skip_below: contributions to a pixel that are less opaque are left out (gsplat: 1/255, which makes the image
            jump a little where a Gaussian's edge passes). 0 keeps them all.

    Returns:
        Image (B, C, H, W); alpha (B, 1, H, W); depth (B, 1, H, W), mean distance along the camera's axis of what is
        seen, 0 where nothing is.
    """
    shadows = project(gaussians, cameras, height, width)
    order = shadows.depth.detach().argsort(dim=-1)  # (B, N)

    def sorted_(value: Tensor) -> Tensor:
        return value.gather(1, order.reshape(*order.shape, *[1] * (value.ndim - 2)).expand_as(value))

    views = order.shape[0]
    shadows = Shadows(sorted_(shadows.means), sorted_(shadows.covariance), sorted_(shadows.depth))
    opacity = gaussians.opacity[order][:, None, None]  # (B, 1, 1, N)
    alphas = shadow_opacity(shadows, opacity, height, width, skip_below).reshape(views, height * width, -1)
    weights, left = compositing_weights(-torch.log1p(-alphas))  # (B, HW, N), (B, HW)
    image = weights @ gaussians.rgb[order] + left[..., None] * background[:, None]  # (B, HW, C)
    alpha = 1 - left
    depth = mean_depth(weights, shadows.depth[:, None], alpha)
    shape = (views, -1, height, width)
    return image.mT.reshape(shape), alpha.reshape(shape), depth.reshape(shape)


def density_amplitude(opacity: Tensor, scales: Tensor) -> Tensor:
    """Peak density A of the 3D Gaussian density that casts this shadow, (N,).

    Along a ray through its middle a density A exp(-|x|^2 / 2 s^2) adds up to A s sqrt(2 pi), and what a ray passes
    through is -log(1 - o) = that (s: geometric mean of the axes). The two renderers then agree in the middle of a
    shadow exactly, and elsewhere up to terms of the order of o^2.
    """
    mean_scale = scales.log().mean(-1).exp()
    return -torch.log1p(-opacity.clamp_max(MOST_OPAQUE)) / (math.sqrt(2 * math.pi) * mean_scale)


def density_at(gaussians: Gaussians, points: Tensor, chunk: int = 16) -> tuple[Tensor, Tensor]:
    """Sum of the Gaussians' densities (S,) and their mean colour (C, S) at points (S, 3)."""
    amplitude = density_amplitude(gaussians.opacity, gaussians.scales)
    whiten = rotation(gaussians.quaternions).mT / gaussians.scales[..., None]  # S^-1 R^T
    total = points.new_zeros(len(points))
    color = points.new_zeros(gaussians.rgb.shape[1], len(points))
    for part in torch.arange(len(gaussians), device=points.device).split(chunk):
        local = torch.einsum("nij,nsj->nsi", whiten[part], points - gaussians.means[part][:, None])
        each = amplitude[part][:, None] * torch.exp((-0.5 * local.square().sum(-1)).clamp_min(-30))  # (n, S)
        total = total + each.sum(0)
        color = color + gaussians.rgb[part].T @ each
    return total, color / total.clamp_min(1e-12)


def density_grid(gaussians: Gaussians, cells: int) -> tuple[Tensor, Tensor]:
    """`density_at` the centres of the cells of the cube [-1, 1]^3: density (N, N, N), colour (C, N, N, N) on axes z, y,
    x. Each Gaussian is added within five standard deviations only."""
    amplitude = density_amplitude(gaussians.opacity, gaussians.scales)
    full = covariances(gaussians.quaternions, gaussians.scales)
    precision, reach = torch.linalg.inv(full), 5 * full.diagonal(dim1=-2, dim2=-1).sqrt()
    low = ((gaussians.means - reach + 1) * cells / 2).floor().clamp(0, cells).int().tolist()
    high = ((gaussians.means + reach + 1) * cells / 2).ceil().clamp(0, cells).int().tolist()
    line = (torch.arange(cells).to(gaussians.means) + 0.5) * 2 / cells - 1
    total = line.new_zeros(cells, cells, cells)
    color = line.new_zeros(gaussians.rgb.shape[1], cells, cells, cells)
    for n, ((x0, y0, z0), (x1, y1, z1)) in enumerate(zip(low, high, strict=True)):
        if x0 >= x1 or y0 >= y1 or z0 >= z1:
            continue
        mean, p = gaussians.means[n], precision[n]
        x, y, z = line[x0:x1] - mean[0], (line[y0:y1] - mean[1])[:, None], (line[z0:z1] - mean[2])[:, None, None]
        q = p[0, 0] * x * x + p[1, 1] * y * y + p[2, 2] * z * z
        q = q + 2 * (p[0, 1] * x * y + p[0, 2] * x * z + p[1, 2] * y * z)
        each = amplitude[n] * torch.exp(-0.5 * q)
        where = (slice(z0, z1), slice(y0, y1), slice(x0, x1))
        total[where] += each
        color[(slice(None), *where)] += gaussians.rgb[n][:, None, None, None] * each
    return total, color / total.clamp_min(1e-12)


__all__ = [
    "BLUR", "MOST_OPAQUE", "SH0", "Gaussians", "Shadows", "covariances", "density_amplitude", "density_at",
    "density_grid", "project", "rotation", "shadow_opacity", "splat",
]  # fmt: skip
