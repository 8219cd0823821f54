r"""Formulas of distribution matching: pure functions of tensors, no network and no state.

p is the teacher's distribution at time t, q the student's. Gaussian processes are written for x0 predictions, because
`D_q - D_p = (sigma_t^2 / alpha_t) (score_q - score_p)` holds on every one of them; the differences of eps predictions
in which score distillation is usually written are `eps_p - eps_q = (alpha_t / sigma_t) (D_q - D_p)`.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.process.gaussian import GaussianProcess, align

FieldWeight = Literal["x0", "sds", "uniform", "fantasia3d", "placid_dreamer"]


def score_difference(real: Tensor, fake: Tensor) -> Tensor:
    r"""D_q - D_p: the direction that the student's samples should not go, to be descended.

    Proportional to the gradient of KL(q || p) with respect to the student's clean sample, Yin et al. 2024 (DMD), Eq. 7.

    Args:
        real, fake: x0_hat of teacher and of critic at the same (xt, t), (B, *event).

    Returns:
        (B, *event), detached.
    """
    return (fake - real).detach()


def dmd_normaliser(x0: Tensor, real: Tensor, floor: float = 1e-6, *, per_frame: bool = False) -> Tensor:
    r"""1 / mean_event |x0 - D_p|, one value per sample, Yin et al. 2024 (DMD), Eq. 8, as in DMD2's code; or one per
    frame of a clip (B, F, ...), so that a frame that is far off does not silence the others.

    Computed in float32 or better and detached; `floor` keeps 0/0 finite when the sample equals the prediction.

    Returns:
        (B, 1, ..., 1) or (B, F, 1, ..., 1), broadcasts against (B, *event).
    """
    dtype = torch.promote_types(x0.dtype, torch.float32)
    distance = (x0.detach().to(dtype) - real.detach().to(dtype)).abs()
    axes = tuple(range(2 if per_frame else 1, x0.ndim))
    return 1 / ((distance.mean(dim=axes, keepdim=True) if axes else distance) + floor)


def field_weight(process: GaussianProcess, t: Tensor, kind: FieldWeight) -> Tensor:
    r"""f(t) such that the field to descend is f (D_q - D_p): w(t) alpha_t / sigma_t, the shape of t.

    The field is w(t) (eps_p - eps_q), and w is sigma_t^2 (`sds`, Poole et al. 2023), 1 (`uniform`), alpha_t sigma_t^2
    (`fantasia3d`), alpha_t (`placid_dreamer`) or sigma_t / alpha_t (`x0`: DMD, ISM, HiFA), so f has no singularity at
    alpha_t = 0; at sigma_t = 0 `uniform` and `placid_dreamer` have one.
    """
    c = process.coefficients(t.to(torch.promote_types(t.dtype, torch.float32)))
    match kind:
        case "x0":
            return torch.ones_like(c.alpha_t)
        case "sds":
            return c.alpha_t * c.sigma_t
        case "uniform":
            return c.alpha_t / c.sigma_t
        case "fantasia3d":
            return c.alpha_t**2 * c.sigma_t
        case "placid_dreamer":
            return c.alpha_t**2 / c.sigma_t
    raise ValueError(f"unknown weight {kind!r}; allowed: x0, sds, uniform, fantasia3d, placid_dreamer")


def weighted(field: Tensor, weight: Tensor) -> Tensor:
    """`field` (B, *event) times `weight` (B,), in the precision of the field."""
    return field * align(weight, field).to(field.dtype)


def clip_field(field: Tensor, limit: float, by: Literal["element", "pixel"] = "element") -> Tensor:
    """Every element into [-limit, limit]; or, by pixel, the norm over the channels (axis 1) to at most `limit`."""
    if by == "element":
        return field.clamp(-limit, limit)
    norm = field.norm(dim=1, keepdim=True)
    return field * (limit / norm.clamp_min(limit))


class _Inject(torch.autograd.Function):
    """The value of the quadratic surrogate, with the field itself as its gradient."""

    @staticmethod
    def forward(ctx: Any, at: Tensor, field: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(field)
        ctx.count, ctx.dtype = count, at.dtype
        return 0.5 * field.square().flatten(1).sum(1) / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (field,) = ctx.saved_tensors
        return (align(outer, field) * field / ctx.count).to(ctx.dtype), None, None


def injection_loss(at: Tensor, field: Tensor, count: int | None = None) -> Tensor:
    r"""1/2 sum (at - sg[at - field])^2 / count, whose gradient with respect to `at` is field / count, exactly.

    The subtraction is not carried out: in half precision at - (at - field) loses the field where |at| is much larger.
    Its result is known, so the value is 1/2 sum field^2 / count and the gradient the field, rounded once, to the
    precision of `at`.

    Args:
        at: the tensor that receives the gradient, (B, *event).
        field: the vector field to descend, (B, *event); treated as a constant, computed with in float32 or better.
        count: what to divide by; None: the number of elements of one event, so that the value is a mean. 1 is the
            sum, the scale of the papers on scenes.

    Returns:
        (B,), float32 or better.
    """
    count = field[0].numel() if count is None else count
    return _Inject.apply(at, field.detach().to(torch.promote_types(field.dtype, torch.float32)), count)


# --- tokens ----------------------------------------------------------------------------------------------------------

TokenDivergence = Literal["forward_kl", "reverse_kl"]


def token_field(real: Tensor, fake: Tensor, divergence: TokenDivergence = "forward_kl") -> Tensor:
    r"""Gradient of a divergence of two distributions of a token in the logits of q, Zhu et al. 2025 (Di[M]O).

    forward_kl: of KL(p || q), q - p. reverse_kl: of KL(q || p), q (log q/p - KL(q || p)).

    Args:
        real, fake: logits of p (teacher) and q (critic), (..., V).

    Returns:
        (..., V), detached, float32 or better.
    """
    dtype = torch.promote_types(fake.dtype, torch.float32)
    log_p, log_q = real.detach().to(dtype).log_softmax(-1), fake.detach().to(dtype).log_softmax(-1)
    q = log_q.exp()
    if divergence == "forward_kl":
        return q - log_p.exp()
    ratio = log_q - log_p
    return q * (ratio - (q * ratio).sum(-1, keepdim=True))


# --- discriminator ---------------------------------------------------------------------------------------------------


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss of the discriminator, softplus(-real) + softplus(fake), per sample (B,)."""
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def non_saturating_loss(fake_logits: Tensor) -> Tensor:
    """softplus(-fake), per sample (B,): the generator's side of `discriminator_loss` (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits)
