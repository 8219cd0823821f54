r"""Formulas of consistency: two states of one trajectory must lead to the same end. B batch, N steps, V vocabulary."""

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.process.gaussian import GaussianProcess, align
from limbeck_diffusion.formulas.divergences import Divergence

Predict = Callable[[Tensor, Tensor], Tensor]  # (x, t) -> x0_hat


def consistency_pair(
    student: Predict,
    target: Predict,
    xt: Tensor,
    t: Tensor,
    xs: Tensor,
    s: Tensor,
    *,
    boundary: float = 0.0,
    ends: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The two ends that are to agree: f_student(x_t, t) and sg f_target(x_s, s), which is x_s itself where s has come
    down to the `boundary` (t = 0; or a smallest time, where it is `ends`, x_s / alpha_s).

    Song et al. 2023, Eq. 7 (distillation) and Eq. 10 (training).

    Args:
        student, target: (x, t) -> x0_hat.
        xt, xs: two states of one trajectory, (B, *event); t, s: their times, (B,), s < t.

    Returns:
        (prediction, target), (B, *event) each; gradient flows through the prediction only.
    """
    prediction = student(xt, t)
    with torch.no_grad():
        landed = s <= boundary
        # predictions there are replaced, at any time; but a frame is context, and keeps its own time
        end = target(xs, s if s.ndim == 2 else torch.where(landed, t, s))
        end = torch.where(align(landed, xs), xs if ends is None else ends, end)
    return prediction, end


def neighbour_times(process: GaussianProcess, t: Tensor, grid: Tensor) -> Tensor:
    """The largest grid time below each t, (B,) float64; grid falls from t_max to 0, (N + 1,)."""
    rising = grid.flip(0).contiguous()
    # a time read back from float32 may lie a rounding above its own node
    below = torch.searchsorted(rising, t.double() * (1 - 1e-6), right=False) - 1
    return rising[below.clamp_min(0)]


def ratio_times(
    process: GaussianProcess, t: Tensor, stage: int, *, base: float = 2.0, k: float = 8.0, b: float = 1.0
) -> Tensor:
    r"""s(t) that closes in on t stage by stage, Geng et al. 2024 (ECT), at noise levels sigma = sigma_t / alpha_t:
    sigma_s = max(0, sigma (1 - n(sigma) q^-(stage + 1))), n(sigma) = 1 + k sigmoid(-b sigma); (B,) float64."""
    sigma = process.sigma_edm(t.double()).clamp_max(1e3)  # infinite at t_max of rectified flow
    n = 1 + k * torch.sigmoid(-b * sigma)
    return process.time((sigma * (1 - n * base ** -(stage + 1))).clamp_min(0))


def token_distances(
    student: Tensor, target: Tensor, xs: Tensor, known: Tensor, divergence: Divergence
) -> tuple[Tensor, Tensor]:
    """Where x_s already shows the token, its cross entropy -log p_student(x_s) (the target is one-hot there: the
    boundary f(x, 0) = x); elsewhere the divergence of the two distributions.

    Args:
        student, target: log-probabilities, (N, V), at x_t and at x_s.
        xs: tokens, (N,); known: whether they are clean tokens, (N,).

    Returns:
        (distance, residual), (N,) each: the residual is the divergence alone, 0 where the token is known.
    """
    shown = torch.where(known, xs, 0)
    surprise = -student.gather(-1, shown.unsqueeze(-1)).squeeze(-1)
    open_ = ~known
    residual = torch.zeros_like(surprise).masked_scatter(open_, divergence(target[open_], student[open_]))
    return torch.where(known, surprise, residual), residual


__all__ = ["consistency_pair", "neighbour_times", "ratio_times", "token_distances"]
