"""What objectives do on each kind of process: noise a sample, read a prediction, count what a mean is over.

An objective is the same everywhere; `ops_of` chooses by the process, and refuses options that mean nothing on it. What
only one family does builds on these operations in the family's folder. B batch, L sequence, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from limbeck.interfaces import Prediction
from limbeck.process.categorical import CategoricalProcess, MaskedProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.times import uniform_time
from limbeck_diffusion.options.common import without_meaning
from limbeck_diffusion.samplers.gaussian import Predict, x0_predictor


@dataclass(frozen=True)
class Noised:
    """x_t (B, *event), t (B,), and the noise that made it: normal (Gaussian) or uniform (tokens), (B, *event)."""

    xt: Tensor
    t: Tensor
    eps: Tensor


@dataclass(frozen=True)
class GaussianOps:
    """Samples are continuous, predictions x0_hat (B, *event)."""

    process: GaussianProcess
    kind: Literal["gaussian"] = "gaussian"

    def noised(self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = "") -> Noised:
        """A clean sample (B, *event) at random times. Draws `{prefix}t` and `{prefix}eps`."""
        t = uniform_time(self.process, rng, len(x0), t_range, purpose=f"{prefix}t")
        eps = rng.normal(f"{prefix}eps", x0.shape, x0.dtype)
        return Noised(self.process.add_noise(x0, eps, t), t, eps)

    def predicted(self, prediction: Prediction) -> Tensor:
        """x0_hat, (B, *event)."""
        if prediction.x0_hat is None:
            raise TypeError("a network on a Gaussian process must predict x0_hat, and this one does not")
        return prediction.x0_hat

    def predictor(self, network: Any, cond: Any) -> Predict:
        """(x, t) -> x0_hat."""
        return x0_predictor(network, cond)

    def reduction_size(self, at: Tensor) -> int:
        """What reduction `mean` divides a sum over one event by."""
        return at[0].numel()


@dataclass(frozen=True)
class CategoricalOps:
    """Samples are tokens (B, L), predictions logits (B, L, V)."""

    process: CategoricalProcess
    kind: Literal["categorical"] = "categorical"

    def noised(self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = "") -> Noised:
        """Clean tokens (B, L) at random times. Draws `{prefix}t` and `{prefix}eps`."""
        low, high = t_range
        t = self.process.t_max * (low + (high - low) * rng.uniform(f"{prefix}t", (len(x0),)))
        u = self.process.noise(tuple(x0.shape), rng, f"{prefix}eps")
        return Noised(self.process.add_noise(x0, u, t), t, u)

    def replaced(self, noised: Noised) -> Tensor:
        """Where the clean token was thrown away, (B, L)."""
        return noised.eps >= self.process.alpha(noised.t.double())[:, None]

    def predicted(self, prediction: Prediction) -> Tensor:
        """Logits, (B, L, V)."""
        if prediction.logits is None:
            raise TypeError("a network on a categorical process must predict logits, and this one does not")
        return prediction.logits

    def predictor(self, network: Any, cond: Any) -> Predict:
        """(x, t) -> logits."""
        return lambda x, t: self.predicted(network(x, t, cond))

    def reduction_size(self, at: Tensor) -> int:
        """What reduction `mean` divides a sum over one event by."""
        return at.shape[1]


ProcessOps = GaussianOps | CategoricalOps


def ops_of(process: Any, options: Any, objective: str) -> ProcessOps:
    """The operations for a process.

    Args:
        options: of the objective; those that mean nothing on the process must be left at their defaults.
        objective: its name, for messages.

    Raises:
        ValueError: an option without meaning on this process.
        TypeError: a process that is neither Gaussian nor categorical.
    """
    if isinstance(process, GaussianProcess):
        ops: ProcessOps = GaussianOps(process)
    elif isinstance(process, CategoricalProcess):
        ops = CategoricalOps(process)
    else:
        raise TypeError(f"{objective} needs a Gaussian or a categorical process; got {process!r}")
    found = [f"{path}={value} ({mark.about})" for path, value, mark in without_meaning(options, ops.kind)]
    if found:
        raise ValueError(
            f"{objective}: {', '.join(found)} {'has' if len(found) == 1 else 'have'} no meaning on {process}, whose "
            f"samples are {'continuous' if ops.kind == 'gaussian' else 'tokens'}. Leave "
            f"{'it' if len(found) == 1 else 'them'} out"
        )
    return ops


def masked_process(spec: Any, objective: str) -> MaskedProcess:
    """The process of a model, which must be a masked one for objectives of masked tokens."""
    process = getattr(spec, "process", None)
    if not isinstance(process, MaskedProcess):
        raise ValueError(
            f"{objective} learns masked tokens, but {type(spec).__name__} lives on {process}. Use a generator on a "
            "limbeck.MaskedProcess; objectives for uniform corruption: consistency"
        )
    return process


__all__ = ["CategoricalOps", "GaussianOps", "Noised", "ProcessOps", "masked_process", "ops_of"]
