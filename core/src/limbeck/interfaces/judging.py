"""What draws samples, judges them and shows them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.interfaces.data import Data
from limbeck.interfaces.networks import Teacher, unwrap
from limbeck.interfaces.values import Sample
from limbeck.randomness import Rng


class Sampler:
    """Leads from noise to data with a predictor.

    A subclass implements `walk`. Drawing the noise and switching gradients off stands here, once. A sampler that starts
    from something else than noise of a process (a prompt, cameras) overrides `__call__` instead.
    """

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
        """Samples for conditions. No gradients.

        Args:
            predictor: a teacher or student with a process, possibly wrapped for DDP.
            cond: conditions of B rows, or None (then pass batch_size or noise).
            noise: x at t_max, (B, *event), as `process.prior_sample` draws it; None: drawn as "noise".
        """
        with torch.no_grad():
            x = self.start(predictor, cond, batch_size, rng) if noise is None else noise
            return self.walk(predictor, cond, x, steps=steps, rng=rng)

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        """From x at t_max, (B, *event), to a sample in `steps` steps; called without gradients. What it draws on the
        way has names of its own in `rng`."""
        raise NotImplementedError(f"{type(self).__name__} is a Sampler: implement walk, or __call__ as a whole")

    def start(self, predictor: Teacher, cond: Any, batch_size: int | None, rng: Rng) -> Tensor:
        """x at t_max by the draw "noise", (B, *event): as many rows as `batch_size`, or as there are conditions."""
        spec = unwrap(predictor)
        process = getattr(spec, "process", None)
        if process is None:
            raise TypeError(
                f"sampler {type(self).__name__} starts from the noise of a process, and {type(spec).__name__} has "
                "none. Sample a language model with autoregressive, a scene with orbit"
            )
        rows = conditions.count(cond, batch_size)
        return process.prior_sample((rows, *spec.space.event), rng)

    def evaluations(self, steps: int) -> int:
        """Network evaluations per sample at `steps` steps (a guided teacher doubles them)."""
        return steps


class ModelMetric(ABC):
    """Judges a model itself, not its samples: likelihood of held-out data, divergence from the teacher. `better` as in
    `Metric`. Registered as kind `metric` too.

    One that makes samples of its own (longer ones, timed ones) sets `samples` and is called with how the row that it
    judges is sampled: `sampler=` and `steps=`, the Sampler being the one of the run or of the teacher.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {}
    samples: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        """model in evaluation mode, no gradients; teacher None in a pretraining run."""


class Metric(ABC):
    """Judges samples. `better` has lower or higher for every number it returns."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {}

    @abstractmethod
    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        """samples (N, *event) in the space of the generator; reference holds both splits."""


class Picture(ABC):
    """What a `view` makes of samples: something to save (as .png at least), and something to put into a page.

    `still` is false where a PNG does not show everything (text to read, sound, a scene that turns): runs then keep the
    page's fragment beside it.
    """

    still: ClassVar[bool] = True

    @abstractmethod
    def save(self, path: Any) -> None: ...

    @abstractmethod
    def html(self) -> str:
        """A self-contained HTML fragment (data URIs)."""
