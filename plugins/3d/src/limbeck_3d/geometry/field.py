"""A scene as numbers on a grid. Letters: N cells per side."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class FieldGrid:
    """A scene as numbers on a grid: density (N, N, N) >= 0 per unit of length and color (3, N, N, N) in [0, 1], both on
    axes z, y, x; value i of N sits at -1 + (2 i + 1)/N."""

    density: Tensor
    color: Tensor

    @property
    def cell(self) -> float:
        """Length of a cell's side."""
        return 2 / self.density.shape[-1]


__all__ = ["FieldGrid"]
