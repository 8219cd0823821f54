"""The detector of digits in a frame: where they are, which they are, and features of the frame.

`FrameDetector` sees one frame and knows nothing of motion; from its features the frame can be rebuilt. It was trained
by `train_frame_detector` on training scans, speeds and starts alone. Clips of other sizes or colours are converted to
grey 20x20 ones (area average): distances still mean something there, labels and positions do not.

Letters: N frames or clips, F frames, D = 2 digits.
"""

import weakref
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck_video.data.moving_digits import CLASSES, DIGITS
from limbeck_video.features.whitened import FEATURES, Whitened, bundled
from limbeck_video.physics.bouncing import SIDE, TRAVEL

PLACES = int(TRAVEL) + 1  # cells per axis for the top left corner of a scan, one around every whole pixel


class FrameDetector(Whitened):
    """Frames (N, 1, 20, 20) in [-1, 1] -> raw features (N, 64) and a map of places (N, 13, 13, 13), axis 1 being: logit
    of a scan's corner lying around that pixel, its offset from it (y, x), ten logits of which digit it would be."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.SiLU())  # 20x20
        self.middle = nn.Sequential(
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.SiLU(),
        )  # 10x10  # fmt: skip
        self.coarse = nn.Sequential(
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.SiLU(),
        )  # 5x5  # fmt: skip
        self.up_middle = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.up_fine = nn.Sequential(nn.SiLU(), nn.ConvTranspose2d(2 * width, width, 2, stride=2))
        self.hidden = nn.Sequential(nn.SiLU(), nn.Conv2d(width, 2 * width, 3, padding=1), nn.SiLU())
        self.to_places = nn.Conv2d(2 * width, 3 + CLASSES, 1)
        self.to_features = nn.Sequential(
            nn.Linear(100 * width + 2 * width + CLASSES, 128), nn.SiLU(), nn.Linear(128, FEATURES)
        )
        # used in training only
        self.to_pixels = nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, SIDE * SIDE))
        self.to_counts = nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, CLASSES * (DIGITS + 1)))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(frames)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        mixed = self.up_fine(self.up_middle(coarse) + middle) + fine
        hidden = self.hidden(mixed[..., 3 : 5 + PLACES, 3 : 5 + PLACES])[..., 1:-1, 1:-1]  # 13x13, around the corners
        places = self.to_places(hidden)
        there = places[:, :1].sigmoid()
        digits = (there * places[:, 3:].softmax(dim=1)).sum(dim=(2, 3))  # about how many of each
        pooled = (there * hidden).sum(dim=(2, 3))
        return self.to_features(torch.cat([coarse.flatten(1), pooled, digits], dim=1)), places


@lru_cache(maxsize=1)
def frame_detector() -> FrameDetector:
    """The bundled one, frozen."""
    return bundled("frame_detector.safetensors", FrameDetector())


# --- what it detects in clips ----------------------------------------------------------------------------------------


def to_grey(clips: Tensor) -> Tensor:
    """Clips (N, F, C, H, W) as the networks take them: float32 on the CPU, grey, 20x20, (N, F, 1, 20, 20)."""
    if clips.ndim != 5:
        raise ValueError(
            f"clips are (N, F, C, H, W); got shape {tuple(clips.shape)}. Decode latents first: space.codec.decode(...)"
        )
    grey = clips.detach().float().cpu().mean(dim=2, keepdim=True)
    if grey.shape[-2:] == (SIDE, SIDE):
        return grey
    small = functional.interpolate(grey.flatten(0, 1), size=(SIDE, SIDE), mode="area")
    return small.view(*grey.shape[:3], SIDE, SIDE)


class Detections(NamedTuple):
    """What a FrameDetector finds in clips: features (N, F, 64), whitened; corners (N, F, D, 2), (y, x) in pixels, of
    both digits in no order; log-probabilities (N, F, D, 10) of which they are."""

    features: Tensor
    corners: Tensor
    digits: Tensor


_last: list[tuple[Any, int, Detections]] = []  # several metrics look at the same samples one after the other


@torch.no_grad()
def detect(clips: Tensor, batch: int = 1000) -> Detections:
    """Every frame of clips (N, F, C, H, W), by the bundled FrameDetector, on the CPU."""
    for known, version, detections in _last:
        if known() is clips and version == clips._version:
            return detections
    network, frames = frame_detector(), to_grey(clips)
    parts = []
    for chunk in frames.flatten(0, 1).split(batch):
        raw, maps = network(chunk)
        parts.append((network.whitened(raw), *peaks(maps)))
    found = [torch.cat(part) for part in zip(*parts, strict=True)]
    detections = Detections(*(part.view(*frames.shape[:2], *part.shape[1:]) for part in found))
    _last[:] = [(weakref.ref(clips), clips._version, detections)]
    return detections


def peaks(maps: Tensor, apart: float = 1.5) -> tuple[Tensor, Tensor]:
    """Maps of places (N, 13, 13, 13) -> corners (N, D, 2) and log-probabilities of digits (N, D, 10).

    The likeliest cell and the likeliest one farther than `apart` pixels from it; a second one that is hardly there
    (less than a tenth as likely as the first) is taken to lie under the first.
    """
    flat = maps.flatten(2).mT  # (N, 169, 13)
    chance = flat[..., 0].sigmoid()
    cells = torch.cartesian_prod(torch.arange(PLACES), torch.arange(PLACES)).to(maps.dtype)  # (169, 2)
    cell_values = torch.cat([(cells + flat[..., 1:3]).clamp(0, TRAVEL), flat[..., 3:].log_softmax(dim=-1)], dim=-1)

    def at(index: Tensor) -> Tensor:
        return cell_values.gather(1, index[:, None, None].expand(-1, 1, cell_values.shape[-1]))  # (N, 1, 12)

    best, first = chance.max(dim=1)
    one = at(first)
    likely, second = chance.masked_fill((cell_values - one)[..., :2].norm(dim=-1) < apart, 0.0).max(dim=1)
    other = torch.where((likely < 0.1 * best)[:, None, None], one, at(second))
    both = torch.cat([one, other], dim=1)
    return both[..., :2], both[..., 2:]


def detected_labels(clips: Tensor) -> Tensor:
    """The digits in every clip (N, F, C, H, W), sorted, (N, 2): the pair that all its frames make likeliest."""
    return likeliest_pair(detect(clips).digits)


def likeliest_pair(log_digits: Tensor) -> Tensor:
    """Log-probabilities (N, F, D, 10) of either digit of every frame -> the best of the 55 pairs, sorted, (N, 2). Which
    of the two is which may differ from frame to frame; no frame weighs more than e^-6 against a pair."""
    pairs = torch.combinations(torch.arange(CLASSES), DIGITS, with_replacement=True)  # (55, 2)
    a, b = pairs.T
    one, other = log_digits.clamp_min(-6.0).unbind(dim=2)  # (N, F, 10)
    either = torch.maximum(one[..., a] + other[..., b], one[..., b] + other[..., a])  # (N, F, 55)
    return pairs[either.sum(dim=1).argmax(dim=1)]


__all__ = [
    "PLACES", "Detections", "FrameDetector", "detect", "detected_labels", "frame_detector", "likeliest_pair", "peaks",
    "to_grey",
]  # fmt: skip
