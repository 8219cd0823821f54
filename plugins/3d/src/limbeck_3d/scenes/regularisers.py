"""Regularisers of scenes: pure functions, unweighted.

Letters: B views, P particles, N cells per side. All return one number per view or per scene, of order one: pixels are
averaged, not summed, so that a weight does not depend on the resolution.
"""

import torch
from torch import Tensor

from limbeck_3d.rendering.compositing import opacity


def opaque_share(alpha: Tensor) -> Tensor:
    """Mean of alpha (B, 1, H, W), (B,): descending it empties the field where the objective wants no matter."""
    return alpha.mean(dim=(1, 2, 3))


def alpha_entropy(alpha: Tensor) -> Tensor:
    """Mean binary entropy of alpha (B, 1, H, W) in units of log 2, (B,): descending it pushes pixels to 0 or 1."""
    a = alpha.clamp(1e-4, 1 - 1e-4)
    nats = -(a * a.log() + (1 - a) * (1 - a).log())
    return nats.mean(dim=(1, 2, 3)) / 0.6931471805599453


def total_variation(grid: Tensor) -> Tensor:
    """Mean absolute difference of neighbours of grids (P, C, N, N, N), (P,)."""
    z, y, x = (grid.diff(dim=axis).abs().mean(dim=(1, 2, 3, 4)) for axis in (2, 3, 4))
    return z + y + x


def sparsity(density: Tensor) -> Tensor:
    """Mean of log(1 + 2 sigma^2) / log 2 over a field (P, N, N, N), (P,): a Cauchy prior, hard on fog and mild on
    matter (Hedman et al. 2021, Eq. 8, up to its constant)."""
    return torch.log1p(2 * density.square()).mean(dim=(1, 2, 3)) / 0.6931471805599453


def border(density: Tensor, cell: float) -> Tensor:
    """Mean opacity of the cells on the six faces of the cube, (P,), of density (P, N, N, N) with cells of a length."""
    shell = torch.cat([density.select(axis, end).flatten(1) for axis in (1, 2, 3) for end in (0, -1)], dim=1)
    return opacity(shell, torch.as_tensor(cell, dtype=density.dtype, device=density.device)).mean(dim=1)


def distortion(weights: Tensor) -> Tensor:
    """Spread of the weights along rays, (R,), of weights (R, K) of equal pieces whose ends run from 0 to 1.

    sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 / K, Barron et al. 2022 (mip-NeRF 360), Eq. 15.
    """
    pieces = weights.shape[-1]
    middle = (torch.arange(pieces, dtype=weights.dtype, device=weights.device) + 0.5) / pieces
    # pairs in linear time: for sorted s, sum_ij w_i w_j |s_i - s_j| = 2 sum_i w_i (s_i W_<i - S_<i)
    before = weights.cumsum(-1) - weights
    moment = (weights * middle).cumsum(-1) - weights * middle
    pairs = 2 * (weights * (middle * before - moment)).sum(-1)
    return pairs + weights.square().sum(-1) / (3 * pieces)


__all__ = ["alpha_entropy", "border", "distortion", "opaque_share", "sparsity", "total_variation"]
