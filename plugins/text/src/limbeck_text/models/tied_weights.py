"""Tied weights stand once in a state dict, under the first of their names.

A module that wants that keeps `tied_names(self)` as `self.tied` and registers the two hooks. (They are no closures, so
that the module can be pickled.)
"""

from typing import Any

from torch import Tensor, nn


def tied_names(module: nn.Module) -> dict[str, str]:
    """Every further name of a shared parameter -> its first name."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(parameter), name)
        if known != name:
            found[name] = known
    return found


def drop_tied(module: Any, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Hook after `state_dict`: further names leave."""
    for name in module.tied:
        state.pop(prefix + name, None)


def restore_tied(module: Any, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """Hook before `load_state_dict`: further names come back."""
    for name, first in module.tied.items():
        if prefix + first in state:
            state.setdefault(prefix + name, state[prefix + first])
