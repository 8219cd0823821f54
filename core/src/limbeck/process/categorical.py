r"""Categorical processes: how tokens are corrupted, and the exact distributions of one step back.

Every token is kept with probability alpha_t and otherwise replaced: by the mask (`MaskedProcess`, Sahoo et al. 2024,
MDLM) or by a token drawn uniformly from the vocabulary, itself included (`UniformProcess`, Austin et al. 2021, D3PM):

    q(x_t | x0) = alpha_t 1[x_t = x0] + (1 - alpha_t) pi(x_t),      pi = mask | uniform

t = 0 is data (alpha_0 = 1), t = 1 is noise (alpha_1 = 0). Letters: B batch, L sequence, V vocabulary, S states (V, and
the mask where it lies outside the vocabulary). tokens (B, L) int64, logits (B, L, V), time (B,) or (B, L), noise u
(B, L): uniform on [0, 1), drawn in float64 because a vocabulary of 50,000 needs more digits than float32 has.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.randomness import Rng

Schedule = Literal["linear", "cosine"]


def one_hot(tokens: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(..., size)"""
    return F.one_hot(tokens, size).to(dtype)


def draw(probabilities: Tensor, u: Tensor) -> Tensor:
    """Inverse distribution function: tokens (...,) from probabilities (..., S) and u (...,) uniform on [0, 1).

    The cumulative sum runs in float64 and is scaled to its own total, so that rounding never yields an impossible
    token.
    """
    below = probabilities.double().cumsum(-1)
    total = below[..., -1:]
    aim = torch.minimum(u.double().unsqueeze(-1), u.new_tensor(1 - 2**-52, dtype=torch.float64)) * total
    return (below <= aim).sum(-1)


def nucleus(p: Tensor, top_p: float) -> Tensor:
    """The smallest set of likeliest tokens whose probability reaches `top_p`, scaled to one: (..., V) -> (..., V);
    Holtzman et al. 2020. The likeliest token always stays."""
    if top_p >= 1:
        return p
    ordered, index = p.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.zeros_like(p).scatter(-1, index, ordered * (before < top_p))
    return kept / kept.sum(-1, keepdim=True)


def probabilities(logits: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """softmax(logits / temperature) cut to its nucleus, (..., V), float32 or better; temperature 0 is the argmax."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return one_hot(logits.argmax(-1), logits.shape[-1], logits.dtype)
    return nucleus((logits / temperature).softmax(-1), top_p)


@dataclass(frozen=True)
class CategoricalProcess(ABC):
    """A schedule alpha_t, the chance that a token is still what it was, and what replaces it.

    vocab: V, the tokens that data may take, 0 .. V - 1, the last axis of logits.
    schedule: `linear`, alpha_t = 1 - t, or `cosine`, alpha_t = cos(pi t / 2).
    """

    vocab: int
    schedule: Schedule = "linear"

    t_max = 1.0

    def __post_init__(self) -> None:
        if self.vocab < 2:
            raise ValueError(f"a vocabulary has at least two tokens; got {self.vocab}")
        if self.schedule not in ("linear", "cosine"):
            raise ValueError(f"unknown schedule {self.schedule!r}; allowed: linear, cosine")

    # --- schedule ---

    def alpha(self, t: Tensor) -> Tensor:
        """alpha_t, the shape and dtype of t; exactly 0 at t = 1."""
        if self.schedule == "linear":
            return 1 - t
        return torch.where(t == 1, 0.0, torch.cos(0.5 * math.pi * t))

    def d_alpha(self, t: Tensor) -> Tensor:
        """d alpha_t / dt."""
        return -torch.ones_like(t) if self.schedule == "linear" else -0.5 * math.pi * torch.sin(0.5 * math.pi * t)

    def time(self, alpha: Tensor) -> Tensor:
        """The time of a given alpha_t."""
        return 1 - alpha if self.schedule == "linear" else torch.acos(alpha) * (2 / math.pi)

    def _at(self, t: Tensor, axes: int, dtype: torch.dtype) -> Tensor:
        """alpha_t in float32 or better, with singleton axes up to `axes`: broadcasts against (B, L) or (B, L, S)."""
        alpha = self.alpha(t.to(torch.promote_types(t.dtype, torch.float32))).to(dtype)
        return alpha.reshape(alpha.shape + (1,) * (axes - alpha.ndim))

    # --- what replaces a token ---

    @property
    @abstractmethod
    def states(self) -> int:
        """S: number of values that x_t may take."""

    @abstractmethod
    def prior(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """pi, the distribution of a token at t = 1, (S,)."""

    # --- corrupting ---

    def noise(self, shape: tuple[int, ...], rng: Rng, purpose: str = "eps") -> Tensor:
        """The draw that `add_noise` takes, (B, L)."""
        return rng.uniform(purpose, shape, torch.float64)

    def add_noise(self, x0: Tensor, u: Tensor, t: Tensor) -> Tensor:
        """x_t from x0, both (B, L), and uniform u (B, L): kept where u < alpha_t, otherwise replaced by the quantile
        of what is left of u. The same u at two times gives coupled states: once replaced, a token stays replaced."""
        alpha = self._at(t, x0.ndim, torch.float64)
        rest = (u.double() - alpha) / torch.where(alpha < 1, 1 - alpha, 1.0)
        return torch.where(u < alpha, x0, self._replacement(rest.clamp(0, 1)))

    @abstractmethod
    def _replacement(self, u: Tensor) -> Tensor:
        """Tokens distributed as pi from u uniform on [0, 1), (B, L)."""

    def prior_sample(self, shape: tuple[int, ...], rng: Rng, purpose: str = "noise") -> Tensor:
        """x at t = 1, (B, L). Draws uniform `purpose`."""
        return self._replacement(rng.uniform(purpose, shape, torch.float64))

    def marginal(self, x0: Tensor, t: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """q(x_t | x0) over all states, (B, L, S), for tokens x0 (B, L)."""
        alpha = self._at(t, 3, dtype)
        return alpha * one_hot(x0, self.states, dtype) + (1 - alpha) * self.prior(dtype).to(x0.device)

    def likelihood(self, xt: Tensor, t: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """q(x_t | x0 = v) for every v, (B, L, V), at tokens xt (B, L)."""
        alpha = self._at(t, 3, dtype)
        same = one_hot(xt, self.states, dtype)[..., : self.vocab]
        return alpha * same + (1 - alpha) * self.prior(dtype).to(xt.device)[xt].unsqueeze(-1)

    # --- one step back ---

    @abstractmethod
    def posterior(self, xt: Tensor, t: Tensor, s: Tensor, x0_probabilities: Tensor) -> Tensor:
        """sum_v p(x0 = v | x_t) q(x_s | x_t, x0 = v), s < t, over all states, (B, L, S).

        Args:
            xt: tokens, (B, L).
            x0_probabilities: p(x0 | x_t) per position, (B, L, V).
        """

    def step(self, xt: Tensor, t: Tensor, s: Tensor, x0_probabilities: Tensor, u: Tensor) -> Tensor:
        """A draw of x_s, (B, L), by uniform u (B, L)."""
        return draw(self.posterior(xt, t, s, x0_probabilities), u)


@dataclass(frozen=True)
class MaskedProcess(CategoricalProcess):
    """Replaced tokens become `mask_id`: by default one past the vocabulary; a smaller id is a token that data never
    takes."""

    mask_id: int = -1  # -1: one past the vocabulary

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask_id == -1:
            object.__setattr__(self, "mask_id", self.vocab)
        if not 0 <= self._mask <= self.vocab:
            raise ValueError(
                f"mask_id is a token id in [0, {self.vocab}] for a vocabulary of {self.vocab}; got {self.mask_id}"
            )

    @property
    def _mask(self) -> int:
        """`mask_id`, which is a number once the process is made."""
        return self.vocab if self.mask_id is None else self.mask_id

    @property
    def states(self) -> int:
        return max(self.vocab, self._mask + 1)

    def prior(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return one_hot(torch.tensor(self.mask_id), self.states, dtype)

    def _replacement(self, u: Tensor) -> Tensor:
        return torch.full(u.shape, self._mask, dtype=torch.int64, device=u.device)

    def posterior(self, xt: Tensor, t: Tensor, s: Tensor, x0_probabilities: Tensor) -> Tensor:
        """A visible token stays; a mask is lifted with probability (alpha_s - alpha_t) / (1 - alpha_t), to
        x0_probabilities; Sahoo et al. 2024."""
        p = x0_probabilities
        alpha_t, alpha_s = self._at(t, 3, p.dtype), self._at(s, 3, p.dtype)
        lifted = (alpha_s - alpha_t) / torch.where(alpha_t < 1, 1 - alpha_t, 1.0)
        mask = one_hot(torch.full_like(xt, self._mask), self.states, p.dtype)
        hidden = lifted * F.pad(p, (0, self.states - self.vocab)) + (1 - lifted) * mask
        return torch.where(xt.eq(self._mask).unsqueeze(-1), hidden, one_hot(xt, self.states, p.dtype))

    def lifts(self, xt: Tensor, t: Tensor, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Which masks are lifted between t and s, (B, L): those where u falls below the chance of it. What is left of
        u there, (N,), is uniform again and chooses the tokens."""
        alpha_t, alpha_s = self._at(t, 2, torch.float64), self._at(s, 2, torch.float64)
        chance = ((alpha_s - alpha_t) / torch.where(alpha_t < 1, 1 - alpha_t, 1.0)).expand(xt.shape)
        lifted = xt.eq(self._mask) & (u < chance)
        return lifted, u.double()[lifted] / chance[lifted]

    def step(self, xt: Tensor, t: Tensor, s: Tensor, x0_probabilities: Tensor, u: Tensor) -> Tensor:
        """A draw of x_s, (B, L). Only lifted positions cost a sum over the vocabulary."""
        lifted, rest = self.lifts(xt, t, s, u)
        return xt.masked_scatter(lifted, draw(x0_probabilities[lifted], rest))

    def nelbo_weight(self, t: Tensor) -> Tensor:
        """-d_alpha_t / (1 - alpha_t), the weight of a masked token's cross entropy in the bound, Sahoo et al. 2024
        (1 / t for the linear schedule). With exact predictions the bound is the likelihood itself."""
        return -self.d_alpha(t) / (1 - self.alpha(t))


@dataclass(frozen=True)
class UniformProcess(CategoricalProcess):
    """Replaced tokens become any token, each with probability 1 / V."""

    @property
    def states(self) -> int:
        return self.vocab

    def prior(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.full((self.vocab,), 1 / self.vocab, dtype=dtype)

    def _replacement(self, u: Tensor) -> Tensor:
        return (u * self.vocab).long().clamp_max(self.vocab - 1)

    def posterior(self, xt: Tensor, t: Tensor, s: Tensor, x0_probabilities: Tensor) -> Tensor:
        """Bayes: q(x_s | x_t, x0) = q(x_t | x_s) q(x_s | x0) / q(x_t | x0) with alpha_{t|s} = alpha_t / alpha_s,
        summed over x0 in O(V); Austin et al. 2021, Eq. 3."""
        p, size = x0_probabilities, self.vocab
        alpha_t, alpha_s = self._at(t, 3, p.dtype), self._at(s, 3, p.dtype)
        ratio = alpha_t / torch.where(alpha_s > 0, alpha_s, 1.0)
        here = one_hot(xt, size, p.dtype)
        forward = ratio * here + (1 - ratio) / size  # q(x_t | x_s), over x_s
        share = p / (alpha_t * here + (1 - alpha_t) / size).clamp_min(torch.finfo(p.dtype).tiny)  # p(v) / q(x_t | v)
        return forward * (alpha_s * share + (1 - alpha_s) / size * share.sum(-1, keepdim=True))
