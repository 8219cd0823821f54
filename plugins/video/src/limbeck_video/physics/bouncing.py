"""Bodies that bounce between walls: constant velocity, elastic reflection, everything in closed form.

A body is the top left corner of an 8x8 scan on a 20x20 canvas, so that positions lie in [0, TRAVEL]. Speeds lie in
bands of 0.05 pixels per frame, starts in square cells of 1 pixel; every fourth band and every fourth cell (on a
diagonal pattern) belong to the held-out split and never occur in training. Both splits cover the same ranges, so that
their statistics compare.

Letters: F frames. Positions are (y, x) in pixels, time is counted in frames.
"""

from typing import Literal

import torch
from torch import Tensor

from limbeck_diffusion.data import digits

SIDE = 20  # pixels of the canvas
TRAVEL = float(SIDE - digits.SIDE)  # positions lie in [0, TRAVEL]
SLOWEST, BAND, BANDS = 0.6, 0.05, 24  # speeds from 0.6 to 1.8 pixels per frame
FEWEST_DEGREES = 15.0  # between a path and a wall: nothing slides along one for ever

Split = Literal["train", "held_out"]


def reflect(unfolded: Tensor, length: float = TRAVEL) -> Tensor:
    """Position between two walls, 0 and `length`, of a point whose path without walls is `unfolded`: a triangle wave,
    length - |(u mod 2 length) - length|."""
    return length - (unfolded.remainder(2 * length) - length).abs()


def direction(unfolded: Tensor, length: float = TRAVEL) -> Tensor:
    """The direction (+1, -1) in which that point moves there."""
    return torch.where(unfolded.remainder(2 * length) < length, 1.0, -1.0).to(unfolded.dtype)


def trajectory(start: Tensor, velocity: Tensor, frames: int, first: int = 0) -> Tensor:
    """Positions in frames `first`, `first` + 1, ...: starts and velocities (..., 2) -> (..., F, 2)."""
    time = torch.arange(first, first + frames, dtype=start.dtype, device=start.device)[:, None]
    return reflect(start[..., None, :] + velocity[..., None, :] * time)


# --- what is held out ------------------------------------------------------------------------------------------------


def held_out_band(band: Tensor) -> Tensor:
    """Is this band of speeds held out?"""
    return band % 4 == 1


def held_out_cell(row: Tensor, column: Tensor) -> Tensor:
    """Is this cell of starts held out?"""
    return (row + 2 * column) % 4 == 1


# --- numbers in [0, 1) -> motion -------------------------------------------------------------------------------------


def pick(uniform: Tensor, count: int) -> Tensor:
    """One of `count` indices, equally likely, of numbers in [0, 1)."""
    return (uniform * count).long().clamp_max(count - 1)


def speeds(band: Tensor, within: Tensor, split: Split) -> Tensor:
    """Pixels per frame, evenly spread over the bands of a split: which band, and where in it, both in [0, 1)."""
    bands = torch.arange(BANDS)
    bands = bands[held_out_band(bands) == (split == "held_out")]
    return SLOWEST + BAND * (bands[pick(band, len(bands))] + within)


def starts(cell: Tensor, within: Tensor, split: Split) -> Tensor:
    """Positions (..., 2), evenly spread over the cells of a split: which cell (its fraction is the row within it), and
    the column within it, both in [0, 1)."""
    side = int(TRAVEL)
    cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    cells = cells[held_out_cell(cells[:, 0], cells[:, 1]) == (split == "held_out")]
    scaled = cell * len(cells)
    return cells[scaled.long()] + torch.stack([scaled - scaled.floor(), within], dim=-1)


def velocities(speed: Tensor, turn: Tensor) -> Tensor:
    """(..., 2) of speeds and of turns in [0, 1): every direction but those that nearly follow a wall."""
    quarter = (turn * 4).floor()
    margin = torch.pi * FEWEST_DEGREES / 180
    angle = quarter * torch.pi / 2 + margin + (turn * 4 - quarter) * (torch.pi / 2 - 2 * margin)
    return speed[..., None] * torch.stack([angle.sin(), angle.cos()], dim=-1)


__all__ = [
    "SIDE", "TRAVEL", "Split", "direction", "held_out_band", "held_out_cell", "pick", "reflect", "speeds",
    "starts", "trajectory", "velocities",
]  # fmt: skip
