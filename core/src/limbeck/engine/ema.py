"""Exponential moving averages of the generator, several decays at once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from limbeck.networks.sharding import part, rows_for, spread


def warmed_decay(decay: float, updates: int) -> float:
    """min(decay, (1 + n) / (10 + n)) before update n + 1: early on the average forgets the weights it started from,
    which a few-step student soon leaves far behind. Decay 0.99 is reached after 890 updates."""
    return min(decay, (1 + updates) / (10 + updates))


class EMA:
    """Averages of a module's floating-point parameters; buffers and integers follow the module."""

    def __init__(self, module: nn.Module, decays: Sequence[float]):
        self.decays = tuple(decays)
        self.updates = 0
        self._live = {
            name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)
        }
        learns = {id(p) for p in module.parameters() if p.is_floating_point()}
        self._averaged = [name for name, value in self._unique(self._live) if id(value) in learns]
        self._copied = [name for name, value in self._unique(self._live) if id(value) not in learns]
        self._tied = {n: first for n, first in self._first_names(self._live).items() if n != first}
        # share memory with the module; of what is spread over processes, the rows here
        self._parameters = [part(self._live[name].detach()) for name in self._averaged]
        self._averages = [[p.clone() for p in self._parameters] for _ in self.decays]

    @staticmethod
    def _first_names(values: Mapping[str, Tensor]) -> dict[str, str]:
        first: dict[int, str] = {}
        return {name: first.setdefault(id(value), name) for name, value in values.items()}

    def _unique(self, values: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
        first = self._first_names(values)
        return [(name, value) for name, value in values.items() if first[name] == name]

    @torch.no_grad()
    def update(self) -> None:
        """average <- d average + (1 - d) parameter, with the warmed decay."""
        for decay, averages in zip(self.decays, self._averages, strict=True):
            torch._foreach_lerp_(averages, self._parameters, 1.0 - warmed_decay(decay, self.updates))
        self.updates += 1

    def state_dict(self, decay: float) -> dict[str, Tensor]:
        """Weights of the averaged module, loadable by its `load_state_dict`."""
        averages = self._averages[self.decays.index(decay)]
        state = {name: spread(value, self._live[name]) for name, value in zip(self._averaged, averages, strict=True)}
        state |= {name: self._live[name].detach() for name in self._copied}
        state |= {name: state[first] for name, first in self._tied.items()}
        return {name: state[name] for name in self._live}

    @torch.no_grad()
    def load_state_dict(self, decay: float, state: Mapping[str, Tensor]) -> None:
        averages = self._averages[self.decays.index(decay)]
        for name, average in zip(self._averaged, averages, strict=True):
            average.copy_(rows_for(state[name], self._live[name]))

    @contextmanager
    def applied(self, decay: float | None = None) -> Iterator[None]:
        """The module runs on its average (the first decay by default) inside; its own weights come back, bit by bit.
        Not for one that is spread over processes: see `sharding.plain_copy`."""
        averages = self._averages[0 if decay is None else self.decays.index(decay)]
        parameters = [self._live[name] for name in self._averaged]
        for parameter, average in zip(parameters, averages, strict=True):
            parameter.data = average
        try:
            yield
        finally:
            for parameter, own in zip(parameters, self._parameters, strict=True):
                parameter.data = own
