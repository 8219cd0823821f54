"""Differentiable volume rendering of a field in the cube [-1, 1]^3.

A field is a function `points (..., 3) -> density (...), color (C, ...)`, density >= 0 per unit of length. A ray is cut
where it enters and leaves the cube, and the piece between into K equal parts with one sample in each: in its centre,
or moved by a share of its length (`jitter`, stratified sampling). Gradients reach the field, never the cameras.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck_3d.rendering.compositing import compositing_weights, mean_depth, over_background

Field = Callable[[Tensor], tuple[Tensor, Tensor]]
Span = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Traced:
    """What R rays saw: color (C, R) with the background, alpha (R,), depth (R,), and their pieces: weights (H, K) and
    ends of the pieces in units of the ray, of the H rays `hit` (indices) that meet the cube at all."""

    color: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor
    hit: Tensor
    near: Tensor
    far: Tensor


def cube_span(origins: Tensor, directions: Tensor, half: float = 1.0) -> tuple[Tensor, Tensor]:
    """Distances at which rays enter and leave the cube [-half, half]^3, (R,) each; equal where they miss it.

    origins, directions (R, 3), directions of length one. Nothing behind the origin counts.
    """
    tiny = torch.where(directions < 0, -1e-12, 1e-12).to(directions.dtype)
    inverse = 1 / torch.where(directions.abs() < 1e-12, tiny, directions)
    one, other = (-half - origins) * inverse, (half - origins) * inverse
    near = torch.minimum(one, other).amax(-1).clamp_min(0)
    far = torch.maximum(one, other).amin(-1)
    return near, torch.maximum(near, far)


def ball_span(origins: Tensor, directions: Tensor, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """The same for the ball around the origin."""
    along = (origins * directions).sum(-1)
    inside = radius * radius - origins.square().sum(-1) + along.square()
    half = inside.clamp_min(0).sqrt()
    near = (-along - half).clamp_min(0)
    return near, torch.maximum(near, -along + half)


def trilinear(grid: Tensor, points: Tensor) -> Tensor:
    """Values (C, ...) of a grid (C, D, H, W) at points (..., 3) = (x, y, z); x runs along W, y along H, z along D.

    The cube [-1, 1]^3 is cut into cells, and a value sits in the centre of its cell: the first of N at -1 + 1/N.
    Further out it stays what it is there.
    """
    flat = points.reshape(1, 1, 1, -1, 3)
    found = F.grid_sample(grid[None], flat, mode="bilinear", padding_mode="border", align_corners=False)
    return found.reshape(grid.shape[0], *points.shape[:-1])


def grid_field(density: Tensor, color: Tensor) -> Field:
    """The field of a density (N, N, N) and a color (C, N, N, N), both on axes z, y, x."""
    stacked = torch.cat([density[None], color])

    def field(points: Tensor) -> tuple[Tensor, Tensor]:
        found, rgb = trilinear(stacked, points).split([1, len(color)])  # cheaper backward than slices
        return found.squeeze(0), rgb

    return field


def trace(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    background: Tensor,
    *,
    samples: int,
    jitter: Tensor | None = None,
    span: Span = cube_span,
) -> Traced:
    """Follow R rays through a field.

    Args:
        origins, directions: (R, 3); directions of length one.
        background: (C, R).
        samples: K, pieces per ray.
        jitter: (R,) or (R, K) in [0, 1): where in its piece a sample lies. None: in the centre.
        span: where rays begin and end, (origins, directions) -> (near, far).
    """
    near, far = span(origins, directions)
    hit = (far > near).nonzero()[:, 0]
    near, far = near[hit], far[hit]
    length = (far - near) / samples  # (H,)
    share = torch.full((1, 1), 0.5, dtype=near.dtype, device=near.device)
    if jitter is not None:
        share = jitter[hit].reshape(len(hit), -1)
    pieces = torch.arange(samples, dtype=near.dtype, device=near.device)
    distance = near[:, None] + (pieces + share) * length[:, None]  # (H, K)
    points = origins[hit][:, None] + distance[..., None] * directions[hit][:, None]
    density, color = field(points)  # (H, K), (C, H, K)
    weights, left = compositing_weights(density * length[:, None])
    seen = torch.einsum("hk,chk->ch", weights, color)  # (C, H)
    alpha = 1 - left

    rays = origins.shape[0]
    seen = over_background(seen, left, background[:, hit])

    def spread(values: Tensor, filled: Tensor) -> Tensor:
        return filled.index_copy(-1, hit, values)

    nothing = torch.zeros(rays, dtype=seen.dtype, device=seen.device)
    return Traced(
        color=spread(seen, background.to(seen.dtype)),
        alpha=spread(alpha, nothing),
        depth=spread(mean_depth(weights, distance, alpha), nothing),
        weights=weights,
        hit=hit,
        near=near,
        far=far,
    )


__all__ = ["Field", "Span", "Traced", "ball_span", "cube_span", "grid_field", "trace", "trilinear"]
