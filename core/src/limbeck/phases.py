"""A phase: whose turn it is in a step. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """One player's turn: a name and the roles that move. `repeat` of `repeats` counts turns of that name in a step."""

    name: str
    roles: tuple[str, ...]
    repeat: int = 0
    repeats: int = 1
