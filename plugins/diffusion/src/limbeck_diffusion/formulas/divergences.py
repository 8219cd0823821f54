r"""Divergences of two distributions of a token, in nats: log-probabilities (..., V) of target and student -> (...).

Logarithms are finite: a token that cannot occur has a very negative one (`limbeck.testing.chain.IMPOSSIBLE`), so that
0 * log 0 is 0. Gradient flows through both arguments; whoever wants a fixed target detaches it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.interfaces import Loss

Divergence = Callable[[Tensor, Tensor], Tensor]  # (target, student) -> one value per token


def log_probabilities(logits: Tensor) -> Tensor:
    """log softmax over the last axis, in float32 or better."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def forward_kl(target: Tensor, student: Tensor) -> Tensor:
    """KL(target || student) = sum_v p (log p - log q). Minimised over an average of targets by their mean."""
    return (target.exp() * (target - student)).sum(-1)


def reverse_kl(target: Tensor, student: Tensor) -> Tensor:
    """KL(student || target) = sum_v q (log q - log p). Minimised over an average of targets by their normalised
    geometric mean."""
    return forward_kl(student, target)


def tvd(target: Tensor, student: Tensor) -> Tensor:
    """Total variation distance, sum_v |q - p| / 2, in [0, 1]."""
    return 0.5 * (student.exp() - target.exp()).abs().sum(-1)


def mse(target: Tensor, student: Tensor) -> Tensor:
    """Mean over the vocabulary of (log q - log p)^2."""
    return (student - target).square().mean(-1)


DIVERGENCES: dict[str, Divergence] = {"reverse_kl": reverse_kl, "forward_kl": forward_kl, "tvd": tvd, "mse": mse}


def token_loss(total: Tensor, items: Tensor, weight: Tensor | None = None, **terms: Tensor) -> Loss:
    """Mean over the tokens of a batch: sum of `total` (B,) over sum of `items` (B,), how many tokens each row counts.

    `weight` (B,) are the averaging weights of a batch. `terms` are further totals (B,), logged as means.
    """
    w = torch.ones_like(total) if weight is None else weight.to(total.dtype)
    count = (w * items).sum()
    divisor = count.clamp_min(1e-30)  # a batch without a single token has loss 0
    means = {name: (w * value).sum().detach() / divisor for name, value in terms.items()}
    return Loss((w * total).sum() / divisor, means, count=count.detach() if weight is None else None)
