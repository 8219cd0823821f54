"""Data `video_folder`: any folder of videos, cut into clips, by PyAV.

Every file is decoded once: the middle is cut out in the shape asked for and resized, frames are resampled by their
times where they do not come evenly or another rate is asked for, and the result is kept on disk under the hash of the
file's content. One warning names the files that had to be left out, one those that were resampled; `notes` says what
was done to the rest.
"""

import math
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Space
from limbeck_video.options.clips import VideoFolderOptions

SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp", ".gif",
}  # fmt: skip
UNEVEN = 0.2  # frames whose distance in time differs from the usual by more than this share do not come evenly
DECODER = 1  # changes when decoding does, so that files kept before are made again


class VideoFolder(Data):
    """Clips (B, F, C, H, W) in [-1, 1] of a folder's videos, one after the other without overlap; no conditions.

    Whole files are held out, chosen by their content, so a clip's neighbour is never in the other split. Raises
    LimbeckError for a folder without a usable video and, with `strict`, at the first that is not.
    """

    Options = VideoFolderOptions

    def __init__(self, **options: Any):
        self.options = chosen = VideoFolderOptions(**options)
        channels = 3 if chosen.colour == "rgb" else 1
        self.space = Space((chosen.frames, channels, *chosen.size), domain="clip")
        self.licence = "that of the videos in the folder"
        self.notes: list[str] = []
        self.skipped: dict[str, str] = {}
        self.resampled: dict[str, float] = {}
        films = self._films(Path(chosen.path).expanduser())
        self._films_of = _divided(films, chosen.held_out)
        self._choose(chosen.split)

    def __len__(self) -> int:
        return len(self._clips)

    def batch(self, indices: Tensor) -> Batch:
        length = self.options.frames
        rows = [self._clips[k] for k in indices.tolist()]
        clips = torch.stack([film[start : start + length] for film, start in rows])
        return Batch(x0=clips.float() / 127.5 - 1).to(indices.device)

    def conditions(self, count: int, rng: Any) -> None:
        return None

    def split(self, name: Literal["train", "held_out"]) -> "VideoFolder":
        other = object.__new__(VideoFolder)
        other.__dict__.update(self.__dict__)
        other._choose(name)
        return other

    # --- files -------------------------------------------------------------------------------------------------------

    def _choose(self, name: Literal["train", "held_out"]) -> None:
        self.name, length = name, self.options.frames
        self._clips = [
            (film, start)
            for film in self._films_of[name]
            for start in range(0, len(film) - length + 1, length)
        ]  # fmt: skip
        if not self._clips:
            raise TypeError(
                f"no video in {self.options.path} is held out: there are {len(self._films_of['train'])}, and held_out "
                f"is {self.options.held_out:g}. Add videos, or raise held_out"
            )

    def _films(self, folder: Path) -> list[tuple[str, Tensor]]:
        """(hash, frames (F, C, H, W) uint8) of every usable file."""
        if not folder.is_dir():
            raise LimbeckError(f"data.path: there is no folder {folder}. Give one that holds videos")
        paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        videos = [p for p in paths if p.suffix.lower() in SUFFIXES]
        if not videos:
            raise LimbeckError(
                f"data.path: {folder} holds no video ({len(paths)} other files). Videos are recognised by their names: "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        found, seen, length, rest = [], set(), self.options.frames, 0
        for path in videos:
            name = str(path.relative_to(folder))
            try:
                key, film = self._film(path, name)
                if len(film) < length:
                    raise _Unusable(
                        f"{len(film)} frames, and a clip takes {length}: lower data.frames or data.stride, or raise "
                        "data.fps"
                    )
            except _Unusable as problem:
                if self.options.strict:
                    raise LimbeckError(
                        f"{path}: {problem}. Remove the file, or leave such files out: data.strict=false"
                    ) from problem
                self.skipped[name] = str(problem)
                continue
            if key in seen:
                self.skipped[name] = "the same content as another file"
                continue
            seen.add(key)
            rest += len(film) % length
            found.append((key, film))
        if rest:
            self.notes.append(f"{rest} frames at the ends of videos make no whole clip of {length} and are not used")
        self._tell(folder, len(videos), len(found))
        return found

    def _tell(self, folder: Path, total: int, used: int) -> None:
        if self.skipped:
            listed = "".join(f"\n  {name}: {why}" for name, why in list(self.skipped.items())[:10])
            more = f"\n  and {len(self.skipped) - 10} more" if len(self.skipped) > 10 else ""
            told = f"{len(self.skipped)} of {total} videos in {folder} left out:{listed}{more}"
            if not used:
                raise LimbeckError(f"{told}\nNo video is left to take clips from")
            warnings.warn(told, stacklevel=5)
        uneven = self.resampled if self.options.fps is None else {}
        if uneven:
            listed = ", ".join(f"{name} ({rate:g} per second)" for name, rate in list(uneven.items())[:10])
            warnings.warn(
                f"{len(uneven)} of {total} videos have a variable frame rate and were resampled by their times: "
                f"{listed}{', ...' if len(uneven) > 10 else ''}. Choose one rate for all with data.fps",
                stacklevel=5,
            )

    def _film(self, path: Path, name: str) -> tuple[str, Tensor]:
        chosen = self.options
        try:
            key = disk_cache.digest(path)
        except OSError as problem:
            raise _Unusable(f"cannot be read: {problem}") from problem
        made_from = {
            "content": key, "size": list(chosen.size), "colour": chosen.colour, "fps": chosen.fps,
            "stride": chosen.stride, "decoder": DECODER,
        }  # fmt: skip
        kept = disk_cache.cached("video", made_from, lambda: decoded(path, chosen))
        if kept["resampled"].item():
            self.resampled[name] = kept["resampled"].item()
        return key, kept["frames"]


class _Unusable(Exception):
    """A file that no clips can be taken from, and why."""


def _divided(films: list[tuple[str, Tensor]], share: float) -> dict[str, list[Tensor]]:
    """Films by split: the share with the smallest hashes is held out, at least one where there are two. The order of
    the rest is that of the names."""
    count = min(len(films) - 1, max(1, round(share * len(films)))) if share else 0
    held_out = {key for key, _ in sorted(films, key=lambda item: item[0])[: max(0, count)]}
    return {
        "train": [film for key, film in films if key not in held_out],
        "held_out": [film for key, film in films if key in held_out],
    }


# --- decoding --------------------------------------------------------------------------------------------------------


def decoded(path: Path, options: VideoFolderOptions) -> dict[str, Tensor]:
    """`frames` (F, C, H, W) uint8, and `resampled`: frames per second if they were, else 0."""
    times, frames = [], []
    for time, picture in _pictures(path, options.colour):
        times.append(time)
        frames.append(_shaped(picture, options.size))
    if not frames:
        raise _Unusable("holds no frame")
    order, rate = resampling(times, options.fps)
    chosen = order[:: options.stride]
    return {
        "frames": torch.stack([frames[k] for k in chosen]),
        "resampled": torch.tensor(rate or 0.0, dtype=torch.float64),
    }


def resampling(times: list[float | None], fps: float | None) -> tuple[list[int], float | None]:
    """Which frames to take, and at which rate they then come; None when they are taken as they are.

    times: of every frame, in seconds, rising; frames without times are taken to come evenly. A frame lasts until the
    next one; at every multiple of 1/fps (of the usual distance, where no rate is asked for but frames come unevenly)
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


def _pictures(path: Path, colour: str) -> Iterator[tuple[float | None, numpy.ndarray]]:
    """(time in seconds, picture (H, W, C) uint8) of every frame."""
    import av

    kind = "rgb24" if colour == "rgb" else "gray"
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise _Unusable("has no picture, only sound")
            for frame in container.decode(video=0):
                picture = frame.to_ndarray(format=kind)
                picture = picture if picture.ndim == 3 else picture[..., None]
                yield frame.time, upright(picture, getattr(frame, "rotation", 0))
    except (av.FFmpegError, OSError, ValueError) as problem:
        raise _Unusable(f"cannot be decoded ({problem})") from problem


def upright(picture: numpy.ndarray, rotation: int) -> numpy.ndarray:
    """A picture that a phone held sideways, turned counter-clockwise by a multiple of 90 degrees, as players do."""
    return numpy.rot90(picture, round(rotation / 90) % 4)


def _shaped(picture: numpy.ndarray, size: tuple[int, int]) -> Tensor:
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


__all__ = ["SUFFIXES", "VideoFolder", "decoded", "resampling", "upright"]
