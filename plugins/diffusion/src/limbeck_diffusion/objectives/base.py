"""What objectives share that train one network, the student."""

from collections.abc import Sequence

from limbeck.interfaces import Objective, Phase


class StudentObjective(Objective):
    """One role, `generator`, that moves in one phase per step."""

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)


__all__ = ["StudentObjective"]
