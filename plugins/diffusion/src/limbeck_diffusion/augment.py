"""Pictures changed a little at random, for classifiers that must not learn one pose by heart."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def affine(
    x: Tensor, draw: Tensor, *, degrees: float = 8.0, zoom: float = 0.08, shift: float = 0.0, background: float = 0.0
) -> Tensor:
    """Rotation, shear, scale and shift of every picture, by bilinear interpolation.

    Args:
        x: pictures, (B, C, H, W).
        draw: numbers in [-1, 1], (B, 3): shares of the largest angle, shear and scale; with `shift` (B, 5), the last
            two of the shift along W and H.
        degrees: of rotation, and of shear.
        zoom: share by which the scale changes.
        shift: pixels.
        background: what lies outside of a picture.

    Returns:
        (B, C, H, W).
    """
    if draw.shape != (len(x), 5 if shift else 3):
        raise ValueError(f"draw has {5 if shift else 3} numbers for each of {len(x)} pictures; got {tuple(draw.shape)}")
    angle, shear = draw[:, 0] * math.radians(degrees), draw[:, 1] * math.radians(degrees)
    scale = 1 + zoom * draw[:, 2]
    # a whole picture is 2 wide in the coordinates of the grid
    sides = draw.new_tensor([x.shape[3], x.shape[2]])
    moved = draw[:, 3:] * (shift / (sides / 2)) if shift else draw.new_zeros(len(x), 2)
    top = torch.stack([scale * angle.cos(), -scale * (angle + shear).sin(), moved[:, 0]], dim=1)
    bottom = torch.stack([scale * angle.sin(), scale * angle.cos(), moved[:, 1]], dim=1)
    grid = functional.affine_grid(torch.stack([top, bottom], dim=1), list(x.shape), align_corners=False)
    # interpolated above the background, so that zero padding is right
    return functional.grid_sample(x - background, grid, align_corners=False) + background


__all__ = ["affine"]
