"""Where real examples and training batches come from."""

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor

from limbeck.interfaces.values import Batch, Space
from limbeck.randomness import Rng


class Data(ABC):
    """Real examples. `split` gives the same data restricted to 'train' or 'held_out'."""

    space: Space

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """Rows `indices` (B,), int64, as a Batch with x0 and, if there are any, cond."""

    def prepare(self, teacher: Any) -> None:  # noqa: B027 (most data needs none)
        """Called once when a recipe's teacher (without guidance; the generator, where there is none) and data are
        built. Data of prompts gets its conditions from a teacher that reads them, `teacher.encode(prompts)`."""

    def split(self, name: Literal["train", "held_out"]) -> "Data":
        raise TypeError(f"{type(self).__name__} has no {name!r} split")

    def conditions(self, count: int, rng: Rng) -> Any:
        """`count` conditions drawn from the data's own distribution (None for unconditional data)."""
        return self.batch(rng.integers("conditions", len(self), (count,)).cpu()).cond


class Source(ABC):
    """Where training batches come from: data, prior, teacher trajectory, stored pairs, student samples.

    A factory gets `data`, `teacher`, `generator` (each may be None) beside its options.
    """

    @abstractmethod
    def batch(self, size: int, rng: Rng) -> Batch:
        """`size` rows for one phase of one step: a pure function of `rng`."""
