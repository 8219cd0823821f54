"""What draws samples, judges them and shows them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from limbeck.interfaces.data import Data
from limbeck.interfaces.networks import Teacher
from limbeck.interfaces.values import Sample
from limbeck.randomness import Rng


class Sampler(ABC):
    """Walks a predictor from noise to data."""

    @abstractmethod
    def __call__(
        self,
        predictor: Teacher,
        cond: Any,
        *,
        steps: int,
        rng: Rng,
        batch_size: int | None = None,
        noise: Tensor | None = None,
    ) -> Sample:
        """`noise` (B, *event) is x at t_max (already prior_std * normal); drawn as "noise" when None. No gradients."""

    def evaluations(self, steps: int) -> int:
        """Network evaluations per sample at `steps` steps (a guided teacher doubles them)."""
        return steps


class ModelMetric(ABC):
    """Judges a model itself, not its samples: likelihood of held-out data, divergence from the teacher. `better` as in
    `Metric`. Registered as kind `metric` too.

    One that makes samples of its own (longer ones, timed ones) sets `samples` and is told how the row it judges is
    sampled: `sampler=` and `steps=`, the Sampler being the one of the run or of the teacher.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {}
    samples: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        """model in evaluation mode, no gradients; teacher None in a pretraining run."""


class Metric(ABC):
    """Judges samples. `better` says for every number it returns whether lower or higher is better."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {}

    @abstractmethod
    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        """samples (N, *event) in the space of the generator; reference holds both splits."""


class Picture(ABC):
    """What a `view` makes of samples: something to save (as .png at least), and something to put into a page.

    `still` is false where a PNG does not say everything (text to read, sound, a scene that turns): runs then keep the
    page's fragment beside it.
    """

    still: ClassVar[bool] = True

    @abstractmethod
    def save(self, path: Any) -> None: ...

    @abstractmethod
    def html(self) -> str:
        """A self-contained HTML fragment (data URIs)."""
