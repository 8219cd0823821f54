"""The networks: a frozen teacher, a generator that is trained, and the predictor that can play either role."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar

from torch import Tensor, nn

from limbeck.interfaces.values import Prediction, Space

if TYPE_CHECKING:
    from limbeck.networks.cache import Cache
    from limbeck.process.categorical import CategoricalProcess
    from limbeck.process.gaussian import GaussianProcess

    Process: TypeAlias = GaussianProcess | CategoricalProcess


Network = TypeVar("Network", bound=nn.Module)


class Teacher(nn.Module, ABC):
    """A frozen model to distil from.

    On a process, `forward(xt, t, cond, *, features=())` returns a Prediction with `x0_hat` (Gaussian) or `logits`
    (categorical). A model without one (`process` None: an autoregressive language model) has a forward of its own.
    """

    process: "Process | Any" = None
    space: Space

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any: ...

    def null(self, cond: Any) -> Any:
        """The unconditional input of the same batch size. Raises when the model has none."""
        raise TypeError(
            f"{type(self).__name__} has no null condition, so guidance cannot be used with it. "
            "Override null(cond), or drop teacher.guidance."
        )

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options) -> "Predictor":
        """A trainable network that starts as this teacher: a critic, a student."""
        raise TypeError(f"{type(self).__name__} cannot be copied for training (mode {mode!r})")

    def at_step(self, step: int) -> None:
        """Called before every step, counted from 0: what a schedule changes (guidance) follows from the step alone."""

    def freeze(self) -> Self:
        """Evaluation mode, no parameter learns. Inputs keep their gradients."""
        return self.eval().requires_grad_(False)


class Generator(nn.Module, ABC):
    """What is trained. `forward` is ONE network call; rollouts are functions around it.

    `lr_scales` multiplies the learning rate of parameters, by a prefix of their names.
    """

    space: Space
    lr_scales: Mapping[str, float] = {}

    def at_step(self, step: int) -> None:
        """Called before every step, counted from 0: what a schedule changes (a resolution) follows from that alone."""

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any: ...


class Predictor(Teacher, Generator):
    """The network behind most roles: teacher when frozen, critic or few-step student when copied and trained.

    `forward(xt, t, cond, s=..., features=...)` predicts `x0_hat` (or logits), and `xs` at a second time s.

    A causal one also goes on from finished frames: `new_cache()` gives a `limbeck.networks.cache.Cache`, which
    `forward(xt, t, cond, cache=cache, write=False)` reads, with xt (B, f, ...) the next f frames only; `write=True`, on
    clean frames, adds them. Where `cache_ahead` is true, `write=True, ahead=n` adds all but the last n frames, which
    are the next chunk and see what was added: the predictions of two calls, in less than the time of two.
    """

    process: "Process"
    space: Space

    @property
    def chunk(self) -> int:
        """How many frames see each other in a call of a causal network on a whole clip."""
        return 1

    @property
    def cache_ahead(self) -> bool:
        """Whether a call that writes finished frames may begin the next chunk (`ahead=`)."""
        return False

    @abstractmethod
    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction: ...

    def trainable_copy(self, mode: Literal["full", "lora"] = "full", **options) -> "Predictor":
        if mode != "full":
            raise TypeError(f"{type(self).__name__} can only be copied in mode 'full'; got {mode!r}")
        return copy.deepcopy(self).train().requires_grad_(True)

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> "Cache":
        """An empty cache for calls chunk by chunk; `window` and `sink` limit which finished frames it holds."""
        raise TypeError(
            f"{type(self).__name__} carries no cache, so it cannot go on from finished frames. Chunk by chunk runs a "
            "causal network (ability: cache); diffusion_forcing samples any network that takes a time per frame"
        )


def unwrap(module: Network) -> Network:
    """The module inside a DistributedDataParallel wrapper (its attributes: process, space), or the module itself, which
    may be spread over processes: `limbeck.networks.sharding.unsharded` goes around methods other than forward."""
    return module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module
