"""The difference of two predictions as a field to descend, and the error that trains a critic, on each kind of process.

B batch, L sequence, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.interfaces import Prediction, Sample
from limbeck.process.categorical import MaskedProcess
from limbeck_diffusion.formulas.fields import (
    FieldWeight,
    TokenDivergence,
    dmd_normaliser,
    field_weight,
    score_difference,
    token_field,
    weighted,
)
from limbeck_diffusion.formulas.weights import ErrorKind, error_weight
from limbeck_diffusion.objectives.process_ops import CategoricalOps, GaussianOps, Noised, ProcessOps
from limbeck_diffusion.options.matching import MatchingOptions


class Difference(Protocol):
    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        """What `sample.at` is to be moved against, its shape, detached. `fake` None: the injected noise itself."""

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        """How wrong a critic is about the clean sample, (B,)."""


@dataclass(frozen=True)
class GaussianDifference:
    """field = f(t) (D_q - D_p), see `field_weight`; `normalise` divides by the mean of |x0 - D_p| (DMD, Eq. 8) over the
    event, or over each frame."""

    ops: GaussianOps
    weight: FieldWeight = "x0"
    normalise: Literal["sample", "frame"] | None = None
    critic_loss: ErrorKind = "velocity"

    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        x0 = sample.at.detach()
        dtype = torch.promote_types(x0.dtype, torch.float32)
        target = self.ops.predicted(real).to(dtype)
        field = score_difference(target, x0.to(dtype) if fake is None else self.ops.predicted(fake).to(dtype))
        if self.weight != "x0":
            field = weighted(field, field_weight(self.ops.process, noised.t, self.weight))
        if self.normalise is None:
            return field
        return field * dmd_normaliser(x0, target, per_frame=self.normalise == "frame").to(dtype)

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        error = (self.ops.predicted(prediction) - x0).square().flatten(1).mean(1)
        return error_weight(self.ops.process, noised.t, self.critic_loss) * error


@dataclass(frozen=True)
class TokenDifference:
    """Fields on the logits of replaced positions, `token_field`; elsewhere zero. The critic learns the replaced tokens
    by cross entropy: `plain`, its mean over them, or `elbo`, with the weight of the likelihood bound."""

    ops: CategoricalOps
    divergence: TokenDivergence = "forward_kl"
    critic_weight: Literal["plain", "elbo"] = "plain"

    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        if fake is None:
            raise TypeError("tokens have no injected noise to stand for the student's distribution: use a critic")
        field = token_field(self.ops.predicted(real), self.ops.predicted(fake), self.divergence)
        return torch.where(self.ops.replaced(noised).unsqueeze(-1), field, 0.0)

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        logits = self.ops.predicted(prediction)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")  # (B, L)
        replaced = self.ops.replaced(noised)
        total = torch.where(replaced, surprise, 0.0).sum(1)
        if self.critic_weight == "plain":
            return total / replaced.sum(1).clamp_min(1)
        process = self.ops.process
        if not isinstance(process, MaskedProcess):
            raise TypeError(f"the bound's weight is known for masked processes; got {process}. Use plain")
        return process.nelbo_weight(noised.t) * total / x0.shape[1]


def difference_of(ops: ProcessOps, options: MatchingOptions) -> Difference:
    """The difference on a process, with the options that apply to it."""
    if isinstance(ops, GaussianOps):
        return GaussianDifference(ops, options.field.weight, options.field.normalise, options.critic.loss)
    return TokenDifference(ops, options.field.divergence, options.critic.weight)


__all__ = ["Difference", "GaussianDifference", "TokenDifference", "difference_of"]
