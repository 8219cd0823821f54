r"""Formulas of masked and uniform diffusion. B batch, L sequence, V vocabulary, m sub-steps."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.interfaces import Batch
from limbeck.process.categorical import CategoricalProcess, MaskedProcess, draw
from limbeck_diffusion.formulas.divergences import log_probabilities


def learned_tokens(batch: Batch) -> Tensor | None:
    """True where a token is real and to be learned, (B, L); None: everywhere."""
    if batch.loss_mask is None or batch.attention_mask is None:
        mask = batch.loss_mask if batch.attention_mask is None else batch.attention_mask
        return None if mask is None else mask.bool()
    return batch.loss_mask.bool() & batch.attention_mask.bool()


def corrupt(process: CategoricalProcess, batch: Batch, u: Tensor, t: Tensor) -> Tensor:
    """x_t of a batch, (B, L), by uniform u (B, L): tokens that are not to be learned (a prompt) stay as they are."""
    assert batch.x0 is not None
    xt = process.add_noise(batch.x0, u, t)
    learned = learned_tokens(batch)
    return xt if learned is None else xt.where(learned, batch.x0)


def masked_cross_entropy(logits: Tensor, x0: Tensor, hidden: Tensor) -> Tensor:
    """-log p(x0_i) at hidden positions, 0 elsewhere: logits (B, L, V), x0 and hidden (B, L); returns (B, L)."""
    found = F.nll_loss(log_probabilities(logits[hidden]), x0[hidden], reduction="none")
    return found.new_zeros(x0.shape).masked_scatter(hidden, found)


def bound(process: MaskedProcess, cross_entropy: Tensor, t: Tensor) -> Tensor:
    """The integrand of the negative evidence bound at t, (B,): -d_alpha_t / (1 - alpha_t) times the cross entropy of
    the masked tokens, (B, L); Sahoo et al. 2024. Its mean over t uniform on [0, 1] bounds -log p(x0)."""
    return process.nelbo_weight(t).to(cross_entropy.dtype) * cross_entropy.sum(1)


def sub_times(t: Tensor, dt: float, count: int) -> Tensor:
    """Times of the teacher's sub-steps, t, t - dt, ..., t - m dt, (m + 1, B); shorter ones where t < m dt, so that the
    last is never below 0. (The released code measures from 1 - t here, and reveals the wrong share.)"""
    step = (t / count).clamp_max(dt)
    return t - step * torch.arange(count + 1, dtype=t.dtype, device=t.device).unsqueeze(1)


def targets(
    predict: Callable[[Tensor, Tensor], Tensor],
    process: MaskedProcess,
    xt: Tensor,
    times: Tensor,
    draws: Callable[[int], Tensor],
) -> Tensor:
    """The teacher's prediction for every masked token when it walks from x_t through `times`: for a token that a
    sub-step reveals, the one just before; for the others, the last.

    Args:
        predict: (x, t) -> logits (B, L, V).
        xt: tokens, (B, L), N of them masked.
        times: falling, (m + 1, B); predictions are made at all but the last.
        draws: sub-step k -> uniform (B, L).

    Returns:
        log-probabilities, (N, V), in the order of the masked positions.
    """
    hidden = xt.eq(process.mask_id)
    x, found = xt, None
    last = len(times) - 2
    for k in range(last + 1):
        logits = predict(x, times[k])
        if k < last:
            revealed, rest = process.lifts(x, times[k], times[k + 1], draws(k))
        else:
            revealed = x.eq(process.mask_id)
        predicted = log_probabilities(logits[revealed])
        if found is None:
            found = predicted.new_empty(int(hidden.sum()), predicted.shape[-1])
        found[revealed[hidden]] = predicted
        if k < last:
            x = x.masked_scatter(revealed, draw(predicted.exp(), rest))
    assert found is not None
    return found


__all__ = ["bound", "corrupt", "learned_tokens", "masked_cross_entropy", "sub_times", "targets"]
