r"""Formulas of distribution matching: pure functions of tensors, no network and no state.

p is the teacher's law at time t, q the student's. Everything is written for x0 predictions, because
`D_q - D_p = (sigma_t^2 / alpha_t) (score_q - score_p)` holds on every Gaussian process.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def score_difference(real: Tensor, fake: Tensor) -> Tensor:
    r"""D_q - D_p: the direction that the student's samples should not go, to be descended.

    Proportional to the gradient of KL(q || p) with respect to the student's clean sample, Yin et al. 2024 (DMD), Eq. 7.

    Args:
        real, fake: x0_hat of teacher and of critic at the same (xt, t), (B, *event).

    Returns:
        (B, *event), detached.
    """
    return (fake - real).detach()


def dmd_normaliser(x0: Tensor, real: Tensor, floor: float = 1e-6) -> Tensor:
    r"""1 / mean_event |x0 - D_p|, one value per sample, Yin et al. 2024 (DMD), Eq. 8, as in DMD2's code.

    Computed in float32 or better and detached; `floor` keeps 0/0 finite when the sample equals the prediction.

    Returns:
        (B, 1, ..., 1), broadcasts against (B, *event).
    """
    dtype = torch.promote_types(x0.dtype, torch.float32)
    distance = (x0.detach().to(dtype) - real.detach().to(dtype)).abs()
    return 1 / (distance.mean(dim=tuple(range(1, x0.ndim)), keepdim=True) + floor)


def injection_loss(at: Tensor, field: Tensor) -> Tensor:
    r"""1/2 mean_event (at - sg[at - field])^2, whose gradient with respect to `at` is field / (elements of one event).

    Args:
        at: the tensor that receives the gradient, (B, *event).
        field: the vector field to descend, (B, *event); treated as a constant.

    Returns:
        (B,)
    """
    target = (at - field).detach()
    return 0.5 * (at - target).square().flatten(1).mean(1)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, softplus(-real) + softplus(fake), per sample (B,)."""
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def non_saturating_loss(fake_logits: Tensor) -> Tensor:
    """softplus(-fake), per sample (B,): the generator's side of `discriminator_loss` (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits)
