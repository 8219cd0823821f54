"""Data `video_folder`: any folder of videos, cut into clips, by PyAV.

Every file is decoded once (`limbeck_video.decoding.av`): the middle is cut out in the requested shape and resized,
frames are resampled by their times where they do not come evenly or another rate is requested, and the result is kept
on disk under the hash of the file's content. One warning names the files that had to be left out, one those that were
resampled; `notes` lists what was done to the rest.
"""

import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Space
from limbeck_video.decoding.av import DECODER, Unusable, decode
from limbeck_video.options.data import VideoFolderOptions

SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp", ".gif",
}  # fmt: skip


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
        videos = self._videos(Path(chosen.path).expanduser())
        self._videos_of = _divided(videos, chosen.held_out)
        self._choose(chosen.split)

    def __len__(self) -> int:
        return len(self._clips)

    def batch(self, indices: Tensor) -> Batch:
        length = self.options.frames
        rows = [self._clips[k] for k in indices.tolist()]
        clips = torch.stack([video[start : start + length] for video, start in rows])
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
            (video, start)
            for video in self._videos_of[name]
            for start in range(0, len(video) - length + 1, length)
        ]  # fmt: skip
        if not self._clips:
            raise TypeError(
                f"no video in {self.options.path} is held out: there are {len(self._videos_of['train'])}, and held_out "
                f"is {self.options.held_out:g}. Add videos, or raise held_out"
            )

    def _videos(self, folder: Path) -> list[tuple[str, Tensor]]:
        """(hash, frames (F, C, H, W) uint8) of every usable file."""
        if not folder.is_dir():
            raise LimbeckError(f"data.path: there is no folder {folder}. Give one that holds videos")
        paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
        candidates = [p for p in paths if p.suffix.lower() in SUFFIXES]
        if not candidates:
            raise LimbeckError(
                f"data.path: {folder} holds no video ({len(paths)} other files). Videos are recognised by their names: "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        found, seen, length, rest = [], set(), self.options.frames, 0
        for path in candidates:
            name = str(path.relative_to(folder))
            try:
                key, video = self._video(path, name)
                if len(video) < length:
                    raise Unusable(
                        f"{len(video)} frames, and a clip takes {length}: lower data.frames or data.stride, or raise "
                        "data.fps"
                    )
            except Unusable as problem:
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
            rest += len(video) % length
            found.append((key, video))
        if rest:
            self.notes.append(f"{rest} frames at the ends of videos make no whole clip of {length} and are not used")
        self._warn(folder, len(candidates), len(found))
        return found

    def _warn(self, folder: Path, total: int, used: int) -> None:
        if self.skipped:
            listed = "".join(f"\n  {name}: {why}" for name, why in list(self.skipped.items())[:10])
            more = f"\n  and {len(self.skipped) - 10} more" if len(self.skipped) > 10 else ""
            message = f"{len(self.skipped)} of {total} videos in {folder} left out:{listed}{more}"
            if not used:
                raise LimbeckError(f"{message}\nNo video is left to take clips from")
            warnings.warn(message, stacklevel=5)
        uneven = self.resampled if self.options.fps is None else {}
        if uneven:
            listed = ", ".join(f"{name} ({rate:g} per second)" for name, rate in list(uneven.items())[:10])
            warnings.warn(
                f"{len(uneven)} of {total} videos have a variable frame rate and were resampled by their times: "
                f"{listed}{', ...' if len(uneven) > 10 else ''}. Choose one rate for all with data.fps",
                stacklevel=5,
            )

    def _video(self, path: Path, name: str) -> tuple[str, Tensor]:
        chosen = self.options
        try:
            key = disk_cache.digest(path)
        except OSError as problem:
            raise Unusable(f"cannot be read: {problem}") from problem
        made_from = {
            "content": key, "size": list(chosen.size), "colour": chosen.colour, "fps": chosen.fps,
            "stride": chosen.stride, "decoder": DECODER,
        }  # fmt: skip
        kept = disk_cache.cached("video", made_from, lambda: decode(path, chosen))
        if kept["resampled"].item():
            self.resampled[name] = kept["resampled"].item()
        return key, kept["frames"]


def _divided(videos: list[tuple[str, Tensor]], share: float) -> dict[str, list[Tensor]]:
    """Videos by split: the share with the smallest hashes is held out, at least one where there are two. The order of
    the rest is that of the names."""
    count = min(len(videos) - 1, max(1, round(share * len(videos)))) if share else 0
    held_out = {key for key, _ in sorted(videos, key=lambda item: item[0])[: max(0, count)]}
    return {
        "train": [video for key, video in videos if key not in held_out],
        "held_out": [video for key, video in videos if key in held_out],
    }


__all__ = ["SUFFIXES", "VideoFolder"]
