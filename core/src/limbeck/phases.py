"""A phase: which networks are trained in one update of a step. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """One update: a name and the roles that learn. `repeat` of `repeats` counts updates of that name in a step."""

    name: str
    roles: tuple[str, ...]
    repeat: int = 0
    repeats: int = 1
