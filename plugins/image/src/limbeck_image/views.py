"""The view of the domain `pixels`."""

from limbeck.image_grids import GAP, ImageGrid
from limbeck.image_grids import image_grid as pixels

__all__ = ["GAP", "ImageGrid", "pixels"]
