"""Real data in motion: two of scikit-learn's 8x8 handwritten digits per clip, bouncing off the walls of a 20x20 canvas.

Everything about a clip is a closed-form function of its index: which scans, where they start, how fast they go. A digit
moves at constant velocity and is reflected elastically (`limbeck_video.physics.bouncing`); positions are sub-pixel
(bilinear shift, which conserves ink and centroid exactly), overlaps take the brighter pixel. Held out are scans (those
of `limbeck_diffusion.data.digits`), speeds and starts.

Letters: B clips, D = 2 digits, F frames. Positions are (y, x) of a scan's top left corner, in pixels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Data, Space
from limbeck.randomness import Rng, per_row
from limbeck_diffusion.data import digits
from limbeck_video.options.data import FRAMES, MovingDigitsOptions
from limbeck_video.physics.bouncing import SIDE, Split, pick, speeds, starts, trajectory, velocities

DIGITS, CLASSES, NULL = 2, digits.CLASSES, digits.CLASSES
SPACE = Space((FRAMES, 1, SIDE, SIDE), domain="clip")
COUNTS = {"train": 20_000, "held_out": 1_000}  # clips
SPLITS = tuple(COUNTS)


# --- motion ----------------------------------------------------------------------------------------------------------


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


def motion(indices: Tensor, split: Split) -> Motion:
    """The clips of indices (B,) of a split, on the CPU."""
    draws = per_row(indices.cpu(), DIGITS * 6, stream=SPLITS.index(split), streams=2).view(-1, DIGITS, 6)  # (B, D, 6)
    _, classes = scans()[split]
    rows = pick(draws[..., 0], len(classes))
    labels, order = classes[rows].sort(dim=1, stable=True)
    speed = speeds(draws[..., 1], draws[..., 2], split)  # (B, D)
    start = starts(draws[..., 3], draws[..., 4], split)  # (B, D, 2)
    velocity = velocities(speed, draws[..., 5])

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
    scan = torch.arange(digits.SIDE, dtype=ink.dtype, device=ink.device)
    tents = (1 - (canvas - scan - positions.to(ink.dtype)[..., None, None]).abs()).clamp_min(0)  # (..., 2, 20, 8)
    return tents[..., 0, :, :] @ ink @ tents[..., 1, :, :].mT


def render(ink: Tensor, positions: Tensor) -> Tensor:
    """Clips (B, F, 1, 20, 20) in [-1, 1] of digits (B, D, 8, 8) at positions (B, D, F, 2)."""
    return 2 * place(ink[:, :, None], positions).amax(dim=1)[:, :, None] - 1


class MovingDigits(Data):
    """Clips (B, F, 1, 20, 20); `cond` is the two labels in order, (B, 2) int64.

    The default split is the training one. Longer clips of the same index begin with the shorter ones.
    """

    Options = MovingDigitsOptions
    licence = digits.LICENCE

    def __init__(self, split: Split = "train", frames: int = FRAMES, clips: int = COUNTS["train"]):
        self.name, self.frames, self.clips = split, frames, clips
        self.space = SPACE if frames == FRAMES else Space((frames, *SPACE.event[1:]), domain=SPACE.domain)

    def __len__(self) -> int:
        return self.clips if self.name == "train" else COUNTS["held_out"]

    def motion(self, indices: Tensor) -> Motion:
        """The physics behind clips."""
        return motion(indices, self.name)

    def rendered(self, moving: Motion) -> Tensor:
        """Clips (B, F, 1, 20, 20) of motions of this split."""
        return render(scans()[self.name][0][moving.scans], moving.positions(self.frames))

    def batch(self, indices: Tensor) -> Batch:
        moving = self.motion(indices)
        return Batch(x0=self.rendered(moving), cond=moving.labels).to(indices.device)

    def conditions(self, count: int, rng: Rng) -> Any:
        return self.motion(rng.integers("conditions", len(self), (count,)).cpu()).labels

    def split(self, name: Split) -> "MovingDigits":
        return MovingDigits(name, self.frames, self.clips)

    def longer(self, frames: int) -> "MovingDigits":
        """The same clips, continued to so many frames: what long rollouts are compared with."""
        return MovingDigits(self.name, frames, self.clips)


__all__ = [
    "CLASSES", "COUNTS", "DIGITS", "NULL", "SPACE", "Motion", "MovingDigits", "motion", "place", "render",
    "scans",
]  # fmt: skip
