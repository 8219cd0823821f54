"""The view `renders`: a grid of renders with the cameras' angles."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.pictures.grids import ImageGrid, image_grid

COLUMNS = 8  # `data.cameras.orbit_cameras` goes around once in so many views


def renders(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> ImageGrid:
    """Renders (N, 3, H, W) in [-1, 1], eight in a row, with the cameras' angles below."""
    if captions is None and isinstance(cond, Conditions) and {"azimuth", "elevation"} <= set(cond):
        angles = zip(cond["azimuth"].tolist(), cond["elevation"].tolist(), strict=True)
        captions = [f"{azimuth:.0f}, {elevation:.0f}" for azimuth, elevation in angles]
    return image_grid(samples, captions=captions, columns=min(COLUMNS, len(samples)), cell=64)


__all__ = ["COLUMNS", "renders"]
