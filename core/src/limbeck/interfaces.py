"""The three interfaces (Teacher, Generator, Objective) and the values that pass between them.

Letters: B batch, F frames, L sequence, V vocabulary. Tensors are (B, *event); time is (B,), or (B, F) when every frame
has its own noise level, which is why frames are the first event axis. t = 0 is data, t = `process.t_max` is noise.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.manifest import Needs

if TYPE_CHECKING:
    from limbeck.cache import Cache
    from limbeck.categorical import CategoricalProcess
    from limbeck.processes import GaussianProcess
    from limbeck.randomness import Rng

    Process: TypeAlias = GaussianProcess | CategoricalProcess


# --- values ----------------------------------------------------------------------------------------------------------


class Codec(nn.Module):
    """Moves between the space a model lives in and the domain people see. The identity by default."""

    def encode(self, seen: Tensor) -> Tensor:
        return seen

    def decode(self, value: Tensor) -> Any:
        """What people see: a tensor, or a list of texts for tokens."""
        return value

    def shown(self, value: Tensor) -> Any:
        """What the domain's view is given: what `decode` answers, unless a view can do with less (a spectrogram is
        drawn as it is, and only the sounds that are played are decoded)."""
        return self.decode(value)

    def fingerprint(self) -> str | None:
        """What the values mean, where numbers alone do not say it (token ids): equal for codecs that agree. None: no
        such thing. `build` refuses partners that disagree."""
        return None


@dataclass(frozen=True)
class Space:
    """Where samples live: the shape of one event, the domain that views and metrics know, the codec to it."""

    event: tuple[int, ...]
    domain: str = "vector"  # pixels, mel, clip, tokens, vector, ...: `view` components are named after it
    codec: Codec = field(default_factory=Codec, compare=False)


@dataclass(frozen=True)
class Prediction:
    """What a predictor says at (xt, t): `x0_hat` (B, *event) on a Gaussian process, `logits` (B, L, V) on a categorical
    one, `xs` (B, *event) when a second time s was asked for; hidden `features` by request, one tensor each."""

    x0_hat: Tensor | None = None
    logits: Tensor | None = None
    xs: Tensor | None = None
    features: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a source yields. Every tensor has B rows; a source fills what it has.

    x0 clean samples; cond conditions (`limbeck.conditions`: class labels (B,), captions, named tensors); noise the
    prior noise paired with x0 (stored pairs); xt, t a state of a teacher trajectory; weight (B,) averaging weights that
    sum to one over the global batch (quadrature; None means 1/B each).

    Sequences, x0 (B, L) tokens: attention_mask (B, L), true where a token is real and not padding; loss_mask (B, L),
    true where a token is to be learned (a completion, not its prompt). None means everywhere.
    """

    x0: Tensor | None = None
    cond: Any = None
    noise: Tensor | None = None
    xt: Tensor | None = None
    t: Tensor | None = None
    weight: Tensor | None = None
    attention_mask: Tensor | None = None
    loss_mask: Tensor | None = None

    def __len__(self) -> int:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                return len(value)
        raise ValueError("an empty batch has no length: the source filled no field")

    def to(self, device: torch.device | str) -> "Batch":
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Batch(**{k: conditions.to(v, device) for k, v in moved.items()})


@dataclass(frozen=True)
class Sample:
    """What a rollout produced.

    value: (B, *event), the sample; at: the tensor at which gradients are injected (the value itself when continuous,
    the render of a scene, the logits of tokens); t_from, t_to: times of the call that carries the gradient;
    evaluations: network calls per sample; penalties (B,) each: regularisers of a scene, to be added to its loss.
    """

    value: Tensor
    at: Tensor
    t_from: float
    t_to: float
    evaluations: int
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """One player's turn: a name and the roles that move. `repeat` of `repeats` counts turns of that name in a step."""

    name: str
    roles: tuple[str, ...]
    repeat: int = 0
    repeats: int = 1


@dataclass(frozen=True)
class Loss:
    """`value` is the scalar to descend; `terms` are named scalars to log, detached.

    `count`, (), says that `value` is a mean over so many items (valid tokens): the engine then averages over the
    items of the global batch, however unevenly micro-batches and processes hold them. None: over samples.
    `explain` is called when the value or its gradient is not finite, and raises if it knows why: a check that would
    make every step wait for the device.
    """

    value: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    count: Tensor | None = None
    explain: Callable[[], None] | None = None

    def backward(self) -> None:
        self.value.backward()


def average(per_sample: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over the batch, (B,) -> (): the one place where per-sample losses become a scalar."""
    return per_sample.mean() if weight is None else (weight * per_sample).sum()


# --- networks --------------------------------------------------------------------------------------------------------


class Teacher(nn.Module, ABC):
    """A frozen model to distil from.

    On a process, `forward(xt, t, cond, *, features=())` answers a Prediction with `x0_hat` (Gaussian) or `logits`
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

    `forward(xt, t, cond, s=..., features=...)` answers `x0_hat` (or logits), and `xs` when asked for a second time s.

    A causal one also goes on from finished frames: `new_cache()` gives a `limbeck.cache.Cache`, which
    `forward(xt, t, cond, cache=cache, write=False)` reads, with xt (B, f, ...) the next f frames only; `write=True`, on
    clean frames, adds them. Where `cache_ahead` is true, `write=True, ahead=n` adds all but the last n frames, which
    are the next chunk and see what was added: the answers of two calls, in less than the time of two.
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
        """An empty cache for calls chunk by chunk; `window` and `sink` say which finished frames it holds."""
        raise TypeError(
            f"{type(self).__name__} carries no cache, so it cannot go on from finished frames. Chunk by chunk runs a "
            "causal network (ability: cache); diffusion_forcing samples any network that takes a time per frame"
        )


def unwrap(module: nn.Module) -> nn.Module:
    """The module inside a DistributedDataParallel wrapper (its attributes: process, space), or the module itself, which
    may be spread over processes: use `limbeck.sharding.whole` around calls of methods other than forward."""
    return module.module if isinstance(module, nn.parallel.DistributedDataParallel) else module


# --- objective -------------------------------------------------------------------------------------------------------


class Objective(ABC):
    """Turns (generator, teacher, batch) into losses and owns its auxiliary networks (critic, discriminator).

    Subclasses set `Options` (a pydantic model; see `limbeck.options.Options`) and `needs`, and implement `setup`,
    `phases` and `loss`. Networks trained by the objective are registered with `add_role` in `setup`, and called through
    `self.network(name, phase)`: that returns the wrapped module (DDP) while the role moves and the bare one while it is
    frozen, because a wrapped module whose parameters do not learn would wait for gradients that never come. A module
    that is spread over processes (`limbeck.sharding`) is the same either way, and may be called through `forward` only.
    """

    needs: ClassVar[Needs] = Needs()
    default_source: ClassVar[str] = "data"  # the `source` component used when the recipe names none
    Options: ClassVar[type | None] = None

    def __init__(self, **options: Any):
        if self.Options is None and options:
            raise TypeError(f"{type(self).__name__} takes no options; got {', '.join(options)}")
        self.options = self.Options(**options) if self.Options is not None else None
        self._bare: dict[str, nn.Module] = {}
        self._bound: dict[str, nn.Module] = {}
        self._learning: dict[str, list[nn.Parameter]] = {}

    @abstractmethod
    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        """Build what this objective owns. Register every trainable network with `add_role`."""

    @abstractmethod
    def phases(self, step: int) -> Sequence[Phase]:
        """Whose turn it is in this step, in order; a pure function of the step."""

    @abstractmethod
    def loss(self, phase: Phase, batch: Batch, rng: "Rng") -> Loss:
        """The loss of one phase on one (micro-)batch. Draws everything random from `rng`, by name."""

    def sampling(self) -> dict[str, Any]:
        """How the generator it trains is to be sampled: the default of the recipe's `sampling` block."""
        return {"use": "multistep", "steps": 1}

    def add_role(self, name: str, module: nn.Module) -> None:
        """Register a trainable network. Parameters that are frozen by now stay so for good (the base of an adapter);
        a module that is frozen altogether is a teacher's copy, and learns altogether. The engine registers a network
        again once it has been spread over processes, because its parameters are others then."""
        self._bare[name] = self._bound[name] = module
        parameters = list(module.parameters())
        self._learning[name] = [p for p in parameters if p.requires_grad] or parameters

    def learning(self, name: str) -> list[nn.Parameter]:
        """The parameters of a role that its phases move."""
        return self._learning[name]

    def roles(self) -> Mapping[str, nn.Module]:
        """Everything trainable, by role name."""
        return dict(self._bare)

    def bind(self, roles: Mapping[str, nn.Module]) -> None:
        """Take the same roles back, wrapped (DDP, FSDP2): used from then on."""
        unknown = set(roles) - set(self._bare)
        if unknown:
            raise KeyError(f"no role {sorted(unknown)}; this objective has {sorted(self._bare)}")
        self._bound.update(roles)

    def network(self, name: str, phase: Phase) -> Any:
        return self._bound[name] if name in phase.roles else self._bare[name]

    def focus(self, phase: Phase) -> None:
        """Let only the roles of this phase learn. The engine calls it; so may a plain loop."""
        for learns in (False, True):  # a parameter that two roles share learns with either
            for name, parameters in self._learning.items():
                if (name in phase.roles) is learns:
                    for parameter in parameters:
                        parameter.requires_grad_(learns)

    def zero_grad(self) -> None:
        for module in self._bare.values():
            module.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """State outside the roles' modules (running statistics, duals). Tensors only; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state of its own; got {sorted(state)}")


class Data(ABC):
    """Real examples. `split` gives the same data restricted to 'train' or 'held_out'."""

    space: Space

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """Rows `indices` (B,), int64, as a Batch with x0 and, if there are any, cond."""

    def meet(self, teacher: Any) -> None:  # noqa: B027 (most data needs none)
        """Called once when a recipe's teacher (without guidance; the generator, where there is none) and data are
        built. Data told in words asks a teacher that reads prompts, `teacher.encode(prompts)`, for its conditions."""

    def split(self, name: Literal["train", "held_out"]) -> "Data":
        raise TypeError(f"{type(self).__name__} has no {name!r} split")

    def conditions(self, count: int, rng: "Rng") -> Any:
        """`count` conditions drawn from the data's own law (None for unconditional data)."""
        return self.batch(rng.integers("conditions", len(self), (count,)).cpu()).cond


class Source(ABC):
    """Where training batches come from: data, prior, teacher trajectory, stored pairs, student samples.

    A factory gets `data`, `teacher`, `generator` (each may be None) beside its options.
    """

    @abstractmethod
    def batch(self, size: int, rng: "Rng") -> Batch:
        """`size` rows for one phase of one step: a pure function of `rng`."""


class Sampler(ABC):
    """Walks a predictor from noise to data."""

    @abstractmethod
    def __call__(
        self,
        predictor: Teacher,
        cond: Any,
        *,
        steps: int,
        rng: "Rng",
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


__all__ = [
    "Batch", "Codec", "Data", "Generator", "Loss", "Metric", "ModelMetric", "Objective", "Phase", "Picture",
    "Prediction", "Predictor", "Sample", "Sampler", "Source", "Space", "Teacher", "average", "unwrap",
]  # fmt: skip
