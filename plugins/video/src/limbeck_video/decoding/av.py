"""Video files as frames, by PyAV: the middle cut out and resized, resampled by time where that is needed, upright."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from limbeck_video.options.data import VideoFolderOptions

UNEVEN = 0.2  # frames whose distance in time differs from the usual by more than this share do not come evenly
DECODER = 1  # changes when decoding does, so that files kept before are made again


class Unusable(Exception):
    """A file that no clips can be taken from, and why."""


def decode(path: Path, options: VideoFolderOptions) -> dict[str, Tensor]:
    """`frames` (F, C, H, W) uint8, and `resampled`: frames per second if they were, else 0."""
    times, frames = [], []
    for time, picture in pictures(path, options.colour):
        times.append(time)
        frames.append(crop_and_resize(picture, options.size))
    if not frames:
        raise Unusable("holds no frame")
    order, rate = resampling(times, options.fps)
    chosen = order[:: options.stride]
    return {
        "frames": torch.stack([frames[k] for k in chosen]),
        "resampled": torch.tensor(rate or 0.0, dtype=torch.float64),
    }


def resampling(times: list[float | None], fps: float | None) -> tuple[list[int], float | None]:
    """Which frames to take, and at which rate they then come; None when they are taken as they are.

    times: of every frame, in seconds, rising; frames without times are assumed to come evenly. A frame lasts until the
    next one; at every multiple of 1/fps (of the usual distance, where no rate is requested but frames come unevenly)
    the one that is on is taken.
    """
    if any(time is None for time in times) or len(times) < 3:
        return list(range(len(times))), None
    known = [float(time) for time in times if time is not None]
    gaps = [b - a for a, b in pairwise(known)]
    usual = median(gaps)
    if usual <= 0:
        return list(range(len(times))), None
    even = all(abs(gap - usual) <= UNEVEN * usual for gap in gaps)
    if even and (fps is None or abs(fps * usual - 1) < 0.01):
        return list(range(len(times))), None
    rate = fps if fps is not None else 1 / usual
    count = max(1, math.floor((known[-1] - known[0] + usual) * rate + 1e-6))
    moments = known[0] + (numpy.arange(count) + 1e-3) / rate
    return (numpy.searchsorted(known, moments, side="right") - 1).clip(0).tolist(), rate


def pictures(path: Path, colour: str) -> Iterator[tuple[float | None, numpy.ndarray]]:
    """(time in seconds, picture (H, W, C) uint8) of every frame."""
    import av

    kind = "rgb24" if colour == "rgb" else "gray"
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise Unusable("has no picture, only sound")
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format=kind)
                picture = picture if picture.ndim == 3 else picture[..., None]
                yield frame.time, upright(picture, getattr(frame, "rotation", 0))
    except (av.FFmpegError, OSError, ValueError) as problem:
        raise Unusable(f"cannot be decoded ({problem})") from problem


def upright(picture: numpy.ndarray, rotation: int) -> numpy.ndarray:
    """A picture that a phone held sideways, turned counter-clockwise by a multiple of 90 degrees, as players do."""
    return numpy.rot90(picture, round(rotation / 90) % 4)


def crop_and_resize(picture: numpy.ndarray, size: tuple[int, int]) -> Tensor:
    """(H, W, C) uint8 -> (C, *size) uint8: the largest middle part of that shape, resized."""
    height, width = picture.shape[:2]
    scale = min(height / size[0], width / size[1])
    high, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - high) // 2, (width - wide) // 2
    part = torch.from_numpy(picture[top : top + high, left : left + wide].copy()).permute(2, 0, 1)
    if part.shape[1:] == size:
        return part.contiguous()
    resized = functional.interpolate(part[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


__all__ = ["DECODER", "Unusable", "decode", "resampling", "upright"]
