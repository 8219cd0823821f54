"""What score differences do on each kind of process: noise a sample, compare two predictions, train a critic.

The objective is the same everywhere; a kernel is chosen by the teacher's process (`kernel_of`). B batch, L sequence,
V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction, Sample
from limbeck.process.categorical import CategoricalProcess, MaskedProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.fields import (
    FieldWeight,
    TokenDivergence,
    dmd_normaliser,
    field_weight,
    score_difference,
    token_field,
    weighted,
)
from limbeck_diffusion.formulas.times import uniform_time
from limbeck_diffusion.formulas.weights import ErrorKind, error_weight


@dataclass(frozen=True)
class Noised:
    """x_t (B, *event), t (B,), and the noise that made it: normal (Gaussian) or uniform (tokens), (B, *event)."""

    xt: Tensor
    t: Tensor
    eps: Tensor


class Kernel(Protocol):
    def noised(self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = "") -> Noised:
        """A clean sample (B, *event) at random times. Draws `{prefix}t` and `{prefix}eps`."""

    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        """What `sample.at` is to be moved against, its shape, detached. `fake` None: the injected noise itself."""

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        """How wrong a critic is about the clean sample, (B,)."""

    def reduction_size(self, at: Tensor) -> int:
        """What reduction `mean` divides a sum over one event by."""


@dataclass(frozen=True)
class GaussianKernel:
    """field = f(t) (D_q - D_p), see `field_weight`; `normalise` divides by the mean of |x0 - D_p| (DMD, Eq. 8) over the
    event, or over each frame."""

    process: GaussianProcess
    weight: FieldWeight = "x0"
    normalise: bool = False
    per_frame: bool = False
    critic_loss: ErrorKind = "velocity"

    def noised(self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = "") -> Noised:
        t = uniform_time(self.process, rng, len(x0), t_range, purpose=f"{prefix}t")
        eps = rng.normal(f"{prefix}eps", x0.shape, x0.dtype)
        return Noised(self.process.add_noise(x0, eps, t), t, eps)

    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        x0 = sample.at.detach()
        dtype = torch.promote_types(x0.dtype, torch.float32)
        target = _x0_of(real).to(dtype)
        field = score_difference(target, x0.to(dtype) if fake is None else _x0_of(fake).to(dtype))
        if self.weight != "x0":
            field = weighted(field, field_weight(self.process, noised.t, self.weight))
        return field * dmd_normaliser(x0, target, per_frame=self.per_frame).to(dtype) if self.normalise else field

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        error = (_x0_of(prediction) - x0).square().flatten(1).mean(1)
        return error_weight(self.process, noised.t, self.critic_loss) * error

    def reduction_size(self, at: Tensor) -> int:
        return at[0].numel()


@dataclass(frozen=True)
class CategoricalKernel:
    """Fields on the logits of replaced positions, `token_field`; elsewhere zero. The critic learns the replaced tokens
    by cross entropy: `plain`, its mean over them, or `elbo`, with the weight of the likelihood bound."""

    process: CategoricalProcess
    divergence: TokenDivergence = "forward_kl"
    critic_weight: Literal["plain", "elbo"] = "plain"

    def noised(self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = "") -> Noised:
        low, high = t_range
        t = self.process.t_max * (low + (high - low) * rng.uniform(f"{prefix}t", (len(x0),)))
        u = self.process.noise(tuple(x0.shape), rng, f"{prefix}eps")
        return Noised(self.process.add_noise(x0, u, t), t, u)

    def replaced(self, noised: Noised) -> Tensor:
        """Where the clean token was thrown away, (B, L)."""
        return noised.eps >= self.process.alpha(noised.t.double())[:, None]

    def field(self, sample: Sample, noised: Noised, real: Prediction, fake: Prediction | None) -> Tensor:
        if fake is None:
            raise TypeError("tokens have no injected noise that could stand for the student's law: use a critic")
        field = token_field(_logits_of(real), _logits_of(fake), self.divergence)
        return torch.where(self.replaced(noised).unsqueeze(-1), field, 0.0)

    def critic_error(self, prediction: Prediction, x0: Tensor, noised: Noised) -> Tensor:
        logits = _logits_of(prediction)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        surprise = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none")  # (B, L)
        replaced = self.replaced(noised)
        total = torch.where(replaced, surprise, 0.0).sum(1)
        if self.critic_weight == "plain":
            return total / replaced.sum(1).clamp_min(1)
        if not isinstance(self.process, MaskedProcess):
            raise TypeError(f"the bound's weight is known for masked processes; got {self.process}. Use plain")
        return self.process.nelbo_weight(noised.t) * total / x0.shape[1]

    def reduction_size(self, at: Tensor) -> int:
        return at.shape[1]


def kernel_of(process: Any, *, gaussian: dict[str, Any], categorical: dict[str, Any]) -> Kernel:
    """The kernel for a process, with the options that apply to it."""
    if isinstance(process, GaussianProcess):
        return GaussianKernel(process, **gaussian)
    if isinstance(process, CategoricalProcess):
        return CategoricalKernel(process, **categorical)
    raise TypeError(f"score differences need a teacher on a Gaussian or categorical process; got {process!r}")


def check_finite(teacher: Any, prediction: Prediction, t: Tensor) -> None:
    """Refuse a teacher's prediction with NaN or infinity, by name, before it reaches the student.

    Raises:
        LimbeckError
    """
    value = prediction.x0_hat if prediction.x0_hat is not None else prediction.logits
    if value is None or bool(torch.isfinite(value).all()):
        return
    bad = ~torch.isfinite(value).flatten(1).all(1)
    times = ", ".join(f"{float(time):.3g}" for time in t[bad][:4])
    raise LimbeckError(
        f"the teacher ({type(teacher).__name__}) predicted values that are not finite for {int(bad.sum())} of "
        f"{len(bad)} samples, the first at t = {times}. Check its weights; load it in float32 if it runs in half "
        "precision; keep away from pure noise (t_range) if it predicts eps"
    )


def checked(teacher: Any, prediction: Prediction, t: Tensor) -> Callable[[], None] | None:
    """`check_finite`, at once on a CPU. Elsewhere every step would wait for the answer: it is returned instead, as the
    `explain` of a loss, for when there is something to explain.

    Raises:
        LimbeckError
    """
    if t.device.type == "cpu":
        return check_finite(teacher, prediction, t)
    return lambda: check_finite(teacher, prediction, t)


def _x0_of(prediction: Prediction) -> Tensor:
    if prediction.x0_hat is None:
        raise TypeError("a network on a Gaussian process must answer x0_hat, and this one does not")
    return prediction.x0_hat


def _logits_of(prediction: Prediction) -> Tensor:
    if prediction.logits is None:
        raise TypeError("a network on a categorical process must answer logits, and this one does not")
    return prediction.logits
