r"""Divergences between the next-token distributions of a teacher and a student: pure functions, one value per token.

Letters: V vocabulary; p teacher, q student, m a mixture of both. Arguments are log-probabilities (..., V) in float32 or
float64, finite (as `log_probs` makes them); results are (...), in nats, and gradients flow into both arguments.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

# (teacher log-probabilities, student log-probabilities) -> one value per token
Divergence: TypeAlias = Callable[[Tensor, Tensor], Tensor]

# A logit of -inf (a token that a model rules out) becomes this: its probability is an exact 0, and 0 * log 0 stays 0
# in values and gradients instead of nan. To rule out what the other distribution allows costs some 1e30 then, not inf.
FLOOR = -1e30


def log_probs(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the last axis, at least in float32, (..., V)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp_min(FLOOR)
    return tempered_log_softmax(logits, temperature)


def tempered_log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) of finite logits, (..., V)."""
    return (logits if temperature == 1 else logits / temperature).log_softmax(-1)


def forward_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(p || q) = sum_v p (log p - log q): covers every mode of the teacher. Gradient in student logits: q - p."""
    return (teacher.exp() * (teacher - student)).sum(-1)


def reverse_kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(q || p). Seeks modes. Gradient in the student's logits: q (log q - log p - KL(q || p))."""
    return forward_kl(student, teacher)


def log_mixture(teacher: Tensor, student: Tensor, beta: float) -> Tensor:
    """log(beta p + (1 - beta) q), 0 < beta < 1, without leaving logarithms."""
    return torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))


def generalized_jsd(teacher: Tensor, student: Tensor, beta: float = 0.5) -> Tensor:
    r"""beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q; Agarwal et al. 2024 (GKD), Eq. 2.

    TRL's and Liger's convention: beta weighs the teacher. At both ends the expression is 0, so beta = 0 and 1 are
    *defined* as forward and reverse KL, and the function jumps there. What is continuous is the divergence divided by
    its weight: generalized_jsd / beta -> KL(p || q) as beta -> 0, generalized_jsd / (1 - beta) -> KL(q || p) as
    beta -> 1. A small beta therefore needs a learning rate that grows as 1 / beta. It never exceeds the entropy of
    (beta, 1 - beta), which is log 2 at 0.5 (the Jensen-Shannon divergence).

    Gradient in the student's log-probabilities: (1 - beta) q (log q - log m), and no more.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is the teacher's share of the mixture, 0 to 1; got {beta:g}")
    if beta == 0:
        return forward_kl(teacher, student)
    if beta == 1:
        return reverse_kl(teacher, student)
    mixture = log_mixture(teacher, student, beta)
    return beta * forward_kl(teacher, mixture) + (1 - beta) * forward_kl(student, mixture)


def skewed_kl(teacher: Tensor, student: Tensor, skew: float = 0.1) -> Tensor:
    """KL(p || skew p + (1 - skew) q), at most -log(skew); Ko et al. 2024 (DistiLLM), Eq. 4. skew 0 is forward KL."""
    if not 0 <= skew < 1:
        raise ValueError(f"skew is the teacher's share of the mixture, 0 or more and less than 1; got {skew:g}")
    return forward_kl(teacher, log_mixture(teacher, student, skew) if skew else student)


def skewed_reverse_kl(teacher: Tensor, student: Tensor, skew: float = 0.1) -> Tensor:
    """KL(q || (1 - skew) p + skew q), at most -log(skew). skew 0 is reverse KL."""
    return skewed_kl(student, teacher, skew)


def total_variation(teacher: Tensor, student: Tensor) -> Tensor:
    """sum_v |p - q| / 2, between 0 and 1."""
    return 0.5 * (teacher.exp() - student.exp()).abs().sum(-1)


def token_divergence(name: str, *, beta: float = 0.5, skew: float = 0.1) -> Divergence:
    """A divergence by name, with its parameter filled in."""
    known: dict[str, Divergence] = {
        "forward_kl": forward_kl,
        "reverse_kl": reverse_kl,
        "generalized_jsd": partial(generalized_jsd, beta=beta),
        "skewed_kl": partial(skewed_kl, skew=skew),
        "skewed_reverse_kl": partial(skewed_reverse_kl, skew=skew),
        "total_variation": total_variation,
    }
    if name not in known:
        raise ValueError(f"no divergence named {name!r}. Known: {', '.join(known)}")
    return known[name]


__all__ = [
    "Divergence", "forward_kl", "generalized_jsd", "log_mixture", "log_probs", "reverse_kl", "skewed_kl",
    "skewed_reverse_kl", "tempered_log_softmax", "token_divergence", "total_variation",
]  # fmt: skip
