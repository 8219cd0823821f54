"""The two small networks whose features are the space that video metrics measure in, and what they read.

`FrameReader` looks at one frame and knows nothing of motion: which digits are in it, where they are, and features from
which the frame can be rebuilt. `ClipReader` looks at what it saw
in twelve frames: where things are in the first, the middle and the last of them, how fast they start, which digits they
are, and whether somebody tampered with the motion. Both were trained by `train_readers` on training scans, speeds and
starts alone. Features are whitened with shrinkage, for the reason given in limbeck-image: left alone, a few directions
would hold nearly all the variance.

Clips of other sizes or colours are read as grey 20x20 ones (area average): distances still mean something there, labels
and places do not.

Letters: N frames or clips, F frames, D = 2 digits.
"""

import weakref
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.evaluation.frechet import whitening
from limbeck_video.data.moving_digits import CLASSES, DIGITS, SIDE, TRAVEL

FEATURES = 64
WINDOW = 12  # frames that a ClipReader looks at
PLACES = int(TRAVEL) + 1  # cells per axis for the top left corner of a scan, one around every whole pixel
TAMPERED = ("untouched", "shuffled", "frozen", "jump", "jitter", "fading", "slow")
MOMENTS = (0, WINDOW // 2, WINDOW - 1)  # frames whose positions a ClipReader tells


class _Whitened(nn.Module):
    """A network with raw features and a linear map to the space metrics measure in: (raw - centre) whiten."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("whiten", torch.eye(FEATURES))

    def whiten_by(self, raw: Tensor, shrinkage: float = 0.01) -> None:
        """Take centre and matrix from raw features (N, 64) of real data."""
        centre, matrix = whitening(raw, shrinkage)
        self.centre.copy_(centre)
        self.whiten.copy_(matrix)

    def measured(self, raw: Tensor) -> Tensor:
        return (raw - self.centre) @ self.whiten


class FrameReader(_Whitened):
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


class ClipReader(_Whitened):
    """Features of a clip, raw (N, 64), from what a FrameReader saw in twelve frames, whitened, (N, 12, 64).
    The heads are for training."""

    def __init__(self, width: int = 96):
        super().__init__()
        self.in_time = nn.Sequential(
            nn.Conv1d(FEATURES, width, 3, padding=1), nn.SiLU(), nn.Conv1d(width, width, 3, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(width * WINDOW, 128), nn.SiLU(), nn.Linear(128, FEATURES),
        )  # fmt: skip
        outputs = {
            "places": len(MOMENTS) * DIGITS * 2,
            "velocity": DIGITS * 2,
            "counts": CLASSES * (DIGITS + 1),
            "tampered": len(TAMPERED),
        }
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, count))
                for name, count in outputs.items()
            }
        )

    def forward(self, seen: Tensor) -> Tensor:
        return self.in_time(seen.mT)  # (N, 64)


# --- the bundled ones ------------------------------------------------------------------------------------------------


def _bundled(name: str, network: nn.Module) -> nn.Module:
    from limbeck.export.teacher_files import read

    state, _ = read(str(resources.files("limbeck_video") / "assets" / name))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def frame_reader() -> FrameReader:
    """The shipped one, frozen."""
    return _bundled("frame_reader.safetensors", FrameReader())


@lru_cache(maxsize=1)
def clip_reader() -> ClipReader:
    """The shipped one, frozen."""
    return _bundled("clip_reader.safetensors", ClipReader())


def readable(clips: Tensor) -> Tensor:
    """Clips (N, F, C, H, W) as the readers take them: float32 on the CPU, grey, 20x20, (N, F, 1, 20, 20)."""
    if clips.ndim != 5:
        raise ValueError(
            f"clips are (N, F, C, H, W); got shape {tuple(clips.shape)}. Decode latents first: space.codec.decode(...)"
        )
    grey = clips.detach().float().cpu().mean(dim=2, keepdim=True)
    if grey.shape[-2:] == (SIDE, SIDE):
        return grey
    small = functional.interpolate(grey.flatten(0, 1), size=(SIDE, SIDE), mode="area")
    return small.view(*grey.shape[:3], SIDE, SIDE)


class Reading(NamedTuple):
    """What a FrameReader sees in clips: features (N, F, 64), whitened; corners (N, F, D, 2), (y, x) in pixels, of both
    digits in no order; log-probabilities (N, F, D, 10) of which they are."""

    features: Tensor
    corners: Tensor
    digits: Tensor


_read_last: list[tuple[Any, int, Reading]] = []  # several metrics read the same samples one after the other


@torch.no_grad()
def read_frames(clips: Tensor, batch: int = 1000) -> Reading:
    """Every frame of clips (N, F, C, H, W), by the bundled FrameReader, on the CPU."""
    for known, version, reading in _read_last:
        if known() is clips and version == clips._version:
            return reading
    network, frames = frame_reader(), readable(clips)
    parts = []
    for chunk in frames.flatten(0, 1).split(batch):
        raw, maps = network(chunk)
        parts.append((network.measured(raw), *peaks(maps)))
    found = [torch.cat(part) for part in zip(*parts, strict=True)]
    reading = Reading(*(part.view(*frames.shape[:2], *part.shape[1:]) for part in found))
    _read_last[:] = [(weakref.ref(clips), clips._version, reading)]
    return reading


@torch.no_grad()
def clip_features(clips: Tensor) -> Tensor:
    """Whitened features of every window of 12 frames of clips (N, F, C, H, W), in turn: (N, F // 12, 64)."""
    network, seen = clip_reader(), windows(read_frames(clips).features)
    return network.measured(network(seen.flatten(0, 1))).view(*seen.shape[:2], FEATURES)


def windows(clips: Tensor, length: int = WINDOW) -> Tensor:
    """Clips (N, F, ...) cut into windows, (N, F // length, length, ...); what is left at the end is dropped."""
    if clips.shape[1] < length:
        raise ValueError(
            f"clips of {clips.shape[1]} frames are too short: motion is read in windows of {length}. "
            f"Measure clips of {length} frames or more, or leave this metric out."
        )
    count = clips.shape[1] // length
    return clips[:, : count * length].unflatten(1, (count, length))


# --- what they read --------------------------------------------------------------------------------------------------


def peaks(maps: Tensor, apart: float = 1.5) -> tuple[Tensor, Tensor]:
    """Maps of places (N, 13, 13, 13) -> corners (N, D, 2) and log-probabilities of digits (N, D, 10).

    The likeliest cell and the likeliest one farther than `apart` pixels from it; a second one that is hardly there
    (less than a tenth as likely as the first) is taken to lie under the first.
    """
    flat = maps.flatten(2).mT  # (N, 169, 13)
    chance = flat[..., 0].sigmoid()
    cells = torch.cartesian_prod(torch.arange(PLACES), torch.arange(PLACES)).to(maps.dtype)  # (169, 2)
    told = torch.cat([(cells + flat[..., 1:3]).clamp(0, TRAVEL), flat[..., 3:].log_softmax(dim=-1)], dim=-1)

    def at(index: Tensor) -> Tensor:
        return told.gather(1, index[:, None, None].expand(-1, 1, told.shape[-1]))  # (N, 1, 12)

    best, first = chance.max(dim=1)
    one = at(first)
    likely, second = chance.masked_fill((told - one)[..., :2].norm(dim=-1) < apart, 0.0).max(dim=1)
    other = torch.where((likely < 0.1 * best)[:, None, None], one, at(second))
    both = torch.cat([one, other], dim=1)
    return both[..., :2], both[..., 2:]


def read_labels(clips: Tensor) -> Tensor:
    """The digits in every clip (N, F, C, H, W), sorted, (N, 2): the pair that all its frames make likeliest."""
    return likeliest_pair(read_frames(clips).digits)


def likeliest_pair(log_digits: Tensor) -> Tensor:
    """Log-probabilities (N, F, D, 10) of either digit of every frame -> the best of the 55 pairs, sorted, (N, 2). Which
    of the two is which may differ from frame to frame; no frame weighs more than e^-6 against a pair."""
    pairs = torch.combinations(torch.arange(CLASSES), DIGITS, with_replacement=True)  # (55, 2)
    a, b = pairs.T
    one, other = log_digits.clamp_min(-6.0).unbind(dim=2)  # (N, F, 10)
    either = torch.maximum(one[..., a] + other[..., b], one[..., b] + other[..., a])  # (N, F, 55)
    return pairs[either.sum(dim=1).argmax(dim=1)]


__all__ = [
    "FEATURES", "MOMENTS", "PLACES", "TAMPERED", "WINDOW", "ClipReader", "FrameReader", "Reading", "clip_features",
    "clip_reader", "frame_reader", "likeliest_pair", "peaks", "read_frames", "read_labels", "readable", "windows",
]  # fmt: skip
