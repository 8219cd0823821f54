"""The view of the domain `pixels`."""

from limbeck.pictures.grids import GAP, ImageGrid, image_grid as pixels

__all__ = ["GAP", "ImageGrid", "pixels"]
