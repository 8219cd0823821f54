"""Has a field a surface, or is it empty or full?"""

from dataclasses import dataclass
from typing import Literal

import torch

from limbeck.errors import LimbeckError, NonFinite
from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.geometry.ray_probe import probe, surface_density

FULL = 0.9  # a field is full when more than this share of its cells is opaque
EMPTY_HINT = (
    "Raise the guidance scale, start with a denser ball (generator.blob_density), lower the weights of opacity and "
    "sparsity, or mesh what there is with a lower threshold"
)
FULL_HINT = (
    "Give the scene random backgrounds, weigh generator.opacity or generator.border, lower the learning rate of "
    "densities, or mesh with a higher threshold"
)


class SceneCollapsed(LimbeckError):
    """A field with no surface: empty, or full to its faces."""


@dataclass(frozen=True)
class FieldState:
    """What a field is like: `kind`, the largest density, the share of cells above the threshold, the share of cells on
    the cube's faces above it, the threshold (None when no ray is half opaque), and the highest alpha then."""

    kind: Literal["good", "empty", "full"]
    max_density: float
    opaque: float
    opaque_border: float
    threshold: float | None
    max_alpha: float | None = None

    def __str__(self) -> str:
        if self.threshold is None:
            return (
                f"the field is empty: max density {self.max_density:.3g}, and no ray has alpha 0.5 "
                f"(highest {self.max_alpha or 0:.2g}). {EMPTY_HINT}"
            )
        numbers = (
            f"max density {self.max_density:.3g}, threshold {self.threshold:.3g}, "
            f"{100 * self.opaque:.3g} % of the cells above it"
        )
        if self.kind == "empty":
            return f"the field is empty: {numbers}. {EMPTY_HINT}"
        if self.kind == "full":
            return f"the field is full: {numbers}, {100 * self.opaque_border:.3g} % of those on its faces. {FULL_HINT}"
        return f"the field has a surface: {numbers}"


def state_of(grid: FieldGrid, threshold: float | None = None) -> FieldState:
    """Whether a field has a surface at a density (None: `surface_density`). Raises NonFinite."""
    if not bool(torch.isfinite(grid.density).all() and torch.isfinite(grid.color).all()):
        raise NonFinite(
            "the field has values that are not finite, so it has no surface. Export an earlier checkpoint, or train "
            "again with a lower learning rate or train.clip=1.0"
        )
    highest = float(grid.density.max())
    if threshold is None:
        found = probe(grid)
        threshold = surface_density(found)
        if threshold is None or threshold <= 0:
            return FieldState("empty", highest, 0.0, 0.0, None, float(found.alpha.max()))
    above = grid.density > threshold
    faces = [above.select(axis, end) for axis in range(3) for end in (0, -1)]
    share, on_faces = float(above.float().mean()), float(torch.stack(faces).float().mean())
    kind: Literal["good", "empty", "full"] = "empty" if not bool(above.any()) else "full" if share > FULL else "good"
    return FieldState(kind, highest, share, on_faces, threshold)


__all__ = ["EMPTY_HINT", "FieldState", "SceneCollapsed", "state_of"]
