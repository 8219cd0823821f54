"""Front-to-back compositing, shared by volumes and splats.

Along a ray lie K pieces, nearest first. Piece i lets exp(-tau_i) of the light through: tau_i = sigma_i delta_i for a
piece of length delta_i and density sigma_i, tau_i = -log(1 - alpha_i) for a splat of opacity alpha_i.

    T_i = exp(-sum_{j<i} tau_j)         what reaches piece i
    w_i = T_i (1 - exp(-tau_i))         its weight in the pixel: T_i alpha_i
    sum_i w_i + T_{K+1} = 1             the rest is background

Max 1995, Eq. 2; Mildenhall et al. 2020, Eq. 3. Letters: R rays (any leading axes), K pieces, C channels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def opacity(density: Tensor, length: Tensor | float) -> Tensor:
    """alpha = 1 - exp(-sigma delta), of pieces of a length, any shapes that broadcast."""
    return -torch.expm1(-density * length)


def compositing_weights(optical_depth: Tensor) -> tuple[Tensor, Tensor]:
    """Weights w (..., K) and what is left for the background T_{K+1} (...), of tau (..., K) >= 0."""
    passed = F.pad(torch.cumsum(optical_depth, dim=-1), (1, 0)).neg().exp()  # (..., K + 1), T_1 = 1
    return passed[..., :-1] - passed[..., 1:], passed[..., -1]


def over_background(color: Tensor, left: Tensor, background: Tensor) -> Tensor:
    """color (C, R), already weighted, in front of background (C, R) or (C, 1) that shines through `left` (R,)."""
    return color + left * background


def mean_depth(weights: Tensor, distance: Tensor, alpha: Tensor) -> Tensor:
    """Expected distance of what a ray sees, sum_i w_i t_i / sum_i w_i, (...); 0 where it sees nothing.

    weights, distance (..., K); alpha (...) the sum of the weights.
    """
    return (weights * distance).sum(-1) / alpha.clamp_min(1e-6)


__all__ = ["compositing_weights", "mean_depth", "opacity", "over_background"]
