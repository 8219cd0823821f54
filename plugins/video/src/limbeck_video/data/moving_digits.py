"""Real data in motion: two of scikit-learn's 8x8 handwritten digits per clip, bouncing off the walls of a 20x20 canvas.

Everything about a clip is a closed-form function of its index: which scans, where they start, how fast they go. A digit
moves at constant velocity and is reflected elastically; positions are sub-pixel (bilinear shift, which conserves ink
and centroid exactly), overlaps take the brighter pixel.

Held out are scans (those of `limbeck_diffusion.data.digits`), speeds and starts: speeds lie in bands of 0.05 pixels
per frame, starts in square cells of 1 pixel; every fourth band and every fourth cell (on a diagonal pattern) belong to
the held-out split and never occur in training. Both splits spread over the same ranges, so that their statistics
compare.

Letters: B clips, D = 2 digits, F frames. Positions are (y, x) of a scan's top left corner, in pixels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Data, Space
from limbeck.randomness import Rng, per_row
from limbeck_diffusion.data import digits
from limbeck_video.options.clips import FRAMES, MovingDigitsOptions

SIDE, SCAN = 20, digits.SIDE  # pixels of the canvas and of a scan
TRAVEL = float(SIDE - SCAN)  # positions lie in [0, TRAVEL]
DIGITS, CLASSES, NULL = 2, digits.CLASSES, digits.CLASSES
SPACE = Space((FRAMES, 1, SIDE, SIDE), domain="clip")
COUNTS = {"train": 20_000, "held_out": 1_000}  # clips
SPLITS = tuple(COUNTS)

SLOWEST, BAND, BANDS = 0.6, 0.05, 24  # speeds from 0.6 to 1.8 pixels per frame
FEWEST_DEGREES = 15.0  # between a path and a wall: nothing slides along one for ever


# --- physics ---------------------------------------------------------------------------------------------------------


def reflect(unfolded: Tensor, length: float = TRAVEL) -> Tensor:
    """Position between two walls, 0 and `length`, of a point whose path without walls is `unfolded`: a triangle wave,
    length - |(u mod 2 length) - length|."""
    return length - (unfolded.remainder(2 * length) - length).abs()


def trajectory(start: Tensor, velocity: Tensor, frames: int, first: int = 0) -> Tensor:
    """Positions in frames `first`, `first` + 1, ...: starts and velocities (..., 2) -> (..., F, 2)."""
    time = torch.arange(first, first + frames, dtype=start.dtype, device=start.device)[:, None]
    return reflect(start[..., None, :] + velocity[..., None, :] * time)


@dataclass(frozen=True)
class Motion:
    """What makes a clip: `scans` (B, D) rows of the split, `labels` (B, D) sorted, `start` and `velocity` (B, D, 2) in
    pixels and pixels per frame, float64. Digit d of each belongs together."""

    scans: Tensor
    labels: Tensor
    start: Tensor
    velocity: Tensor

    def positions(self, frames: int, first: int = 0) -> Tensor:
        """(B, D, F, 2), float64."""
        return trajectory(self.start, self.velocity, frames, first)


def held_out_band(band: Tensor) -> Tensor:
    """Is this band of speeds held out?"""
    return band % 4 == 1


def held_out_cell(row: Tensor, column: Tensor) -> Tensor:
    """Is this cell of starts held out?"""
    return (row + 2 * column) % 4 == 1


def motion(indices: Tensor, split: Literal["train", "held_out"]) -> Motion:
    """The clips of indices (B,) of a split, on the CPU."""
    draws = per_row(indices.cpu(), DIGITS * 6, stream=SPLITS.index(split), streams=2).view(-1, DIGITS, 6)  # (B, D, 6)
    _, classes = scans()[split]
    rows = _pick(draws[..., 0], len(classes))
    labels, order = classes[rows].sort(dim=1, stable=True)

    bands = torch.arange(BANDS)
    bands = bands[held_out_band(bands) == (split == "held_out")]
    band = bands[_pick(draws[..., 1], len(bands))]
    speed = SLOWEST + BAND * (band + draws[..., 2])  # (B, D)

    side = int(TRAVEL)
    cells = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    cells = cells[held_out_cell(cells[:, 0], cells[:, 1]) == (split == "held_out")]
    scaled = draws[..., 3] * len(cells)
    cell = cells[scaled.long()]  # (B, D, 2)
    within = torch.stack([scaled - scaled.floor(), draws[..., 4]], dim=-1)
    start = cell + within

    quarter = (draws[..., 5] * 4).floor()
    margin = torch.pi * FEWEST_DEGREES / 180
    angle = quarter * torch.pi / 2 + margin + (draws[..., 5] * 4 - quarter) * (torch.pi / 2 - 2 * margin)
    velocity = speed[..., None] * torch.stack([angle.sin(), angle.cos()], dim=-1)

    def sorted_(values: Tensor) -> Tensor:
        index = order if values.ndim == 2 else order[..., None].expand_as(values)
        return values.gather(1, index)

    return Motion(sorted_(rows), labels, sorted_(start), sorted_(velocity))


# --- pictures --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def scans() -> dict[str, tuple[Tensor, Tensor]]:
    """{"train": (ink, labels), "held_out": ...}: ink (N, 8, 8) in [0, 1] (17 levels), labels (N,)."""
    return {name: (ink / digits.INK, labels) for name, (ink, labels) in digits.scans().items()}


def place(ink: Tensor, positions: Tensor) -> Tensor:
    """Scans on the canvas: ink (..., 8, 8), positions (..., 2) -> (..., 20, 20), by bilinear interpolation.

    Separable: canvas row y gets max(0, 1 - |y - (p + i)|) of scan row i, and columns alike.
    """
    canvas = torch.arange(SIDE, dtype=ink.dtype, device=ink.device)[:, None]
    scan = torch.arange(SCAN, dtype=ink.dtype, device=ink.device)
    tents = (1 - (canvas - scan - positions.to(ink.dtype)[..., None, None]).abs()).clamp_min(0)  # (..., 2, 20, 8)
    return tents[..., 0, :, :] @ ink @ tents[..., 1, :, :].mT


def film(ink: Tensor, positions: Tensor) -> Tensor:
    """Clips (B, F, 1, 20, 20) in [-1, 1] of digits (B, D, 8, 8) at positions (B, D, F, 2)."""
    return 2 * place(ink[:, :, None], positions).amax(dim=1)[:, :, None] - 1


class MovingDigits(Data):
    """Clips (B, F, 1, 20, 20); `cond` is the two labels in order, (B, 2) int64.

    Whoever names no split gets the training one. Longer clips of the same index begin with the shorter ones.
    """

    Options = MovingDigitsOptions
    licence = digits.LICENCE

    def __init__(
        self, split: Literal["train", "held_out"] = "train", frames: int = FRAMES, clips: int = COUNTS["train"]
    ):
        self.name, self.frames, self.clips = split, frames, clips
        self.space = SPACE if frames == FRAMES else Space((frames, *SPACE.event[1:]), domain=SPACE.domain)

    def __len__(self) -> int:
        return self.clips if self.name == "train" else COUNTS["held_out"]

    def motion(self, indices: Tensor) -> Motion:
        """The physics behind clips."""
        return motion(indices, self.name)

    def batch(self, indices: Tensor) -> Batch:
        moving = self.motion(indices)
        clips = film(scans()[self.name][0][moving.scans], moving.positions(self.frames))
        return Batch(x0=clips, cond=moving.labels).to(indices.device)

    def conditions(self, count: int, rng: Rng) -> Any:
        return self.motion(rng.integers("conditions", len(self), (count,)).cpu()).labels

    def split(self, name: Literal["train", "held_out"]) -> "MovingDigits":
        return MovingDigits(name, self.frames, self.clips)

    def longer(self, frames: int) -> "MovingDigits":
        """The same clips, going on for longer: what long rollouts are compared with."""
        return MovingDigits(self.name, frames, self.clips)


def _pick(uniform: Tensor, count: int) -> Tensor:
    return (uniform * count).long().clamp_max(count - 1)


__all__ = [
    "CLASSES", "NULL", "SIDE", "SPACE", "TRAVEL", "Motion", "MovingDigits", "film", "held_out_band",
    "held_out_cell", "motion", "place", "reflect", "scans", "trajectory",
]  # fmt: skip
