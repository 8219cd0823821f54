"""The objective: it turns (generator, teacher, batch) into losses, and owns what it trains besides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from limbeck.interfaces.networks import Generator, Teacher
from limbeck.interfaces.values import Batch, Loss
from limbeck.manifest import Needs
from limbeck.phases import Phase
from limbeck.randomness import Rng


class Objective(ABC):
    """Turns (generator, teacher, batch) into losses and owns its auxiliary networks (critic, discriminator).

    Subclasses set `Options` (a pydantic model; see `limbeck.options.Options`) and implement `setup`, `phases` and
    `loss`. What a class needs stands in the manifest that registers it; `needs` is for one that no manifest names.
    Networks trained by the objective are registered with `add_role` in `setup`, and called through
    `self.network(name, phase)`: that returns the wrapped module (DDP) while the role moves and the bare one while it is
    frozen, because a wrapped module whose parameters do not learn would wait for gradients that never come. A module
    that is spread over processes (`limbeck.networks.sharding`) is the same either way, and may be called through
    `forward` only.
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
    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
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
        """A role's network to be called in a phase: wrapped while it moves, bare while it is frozen."""
        return self._bound[name] if name in phase.roles else self.bare(name)

    def bare(self, name: str) -> Any:
        """A role's network without its wrapper: for its attributes (process, space), for copies, and for calls that no
        gradient follows, which a DDP wrapper would wait for."""
        if name not in self._bare:
            raise KeyError(f"no role {name!r}; this objective has {sorted(self._bare)}")
        return self._bare[name]

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
