"""Data `audio_folder`: any folder of sound files, converted to clips, and told what was converted or left out.

Other rates are resampled, channels are mixed down; files that cannot be used (unreadable, silent, clipped, too short)
are skipped and counted, or end the run by name if asked. What was decoded is kept on disk under the content of the
files.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data
from limbeck.randomness import Rng
from limbeck_audio.options.sounds import AudioFolderOptions
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.clips import centred, levelled, trimmed
from limbeck_audio.signal.mel import CLIP, RATE, SPACE, resample

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
FORMAT = 1  # of what is kept on disk: raised when clips are cut or levelled otherwise
SILENT = 1e-4  # peak, -80 dB of full scale
FULL_SCALE = 0.999
NAMED = 3  # files that a message names before it only counts

_HINTS = {
    "unreadable": "convert it (ffmpeg -i FILE FILE.wav) or take it out",
    "silent": "take it out",
    "clipped": "record it again at a lower level, or raise data.clipped",
    "too short": "lower data.min_seconds, or take it out",
    "too long": "data.long=cut takes clips of it",
    "not finite": "it holds nan or infinity: write it again",
}


class Unusable(LimbeckError):
    """A file that no clip can be made of: `kind` is one of `_HINTS`."""

    def __init__(self, kind: str, detail: str):
        self.kind = kind
        super().__init__(detail)


# --- one file --------------------------------------------------------------------------------------------------------


def converted(sound: Tensor, rate: int, options: AudioFolderOptions) -> tuple[Tensor, list[str]]:
    """Clips (K, 16384) at 16 kHz of a recording (S, channels) at `rate` Hz, and what was converted.

    Raises Unusable.
    """
    said = []
    if not bool(torch.isfinite(sound).all()):
        raise Unusable("not finite", "holds nan or infinity")
    if sound.numel() and (share := (sound.abs() >= FULL_SCALE).float().mean().item()) >= max(options.clipped, 1e-9):
        raise Unusable("clipped", f"{100 * share:.1f} % of its samples are at full scale")
    if sound.shape[1] > 1:
        said.append(f"mixed from {sound.shape[1]} channels to one")
    mono = sound.mean(dim=1)
    if len(mono) == 0 or mono.abs().max() < SILENT:
        raise Unusable("silent", "nothing in it is louder than -80 dB")
    if rate != RATE:
        said.append(f"resampled from {rate:,} Hz to {RATE:,} Hz")
        mono = resample(mono, rate)
    mono = trimmed(mono)
    least = round(options.min_seconds * RATE)
    if len(mono) < least:
        raise Unusable("too short", f"{len(mono) / RATE:.3f} s of sound, and {options.min_seconds:g} s are asked for")
    pieces = [mono]
    if len(mono) > CLIP:
        if options.long == "skip":
            raise Unusable("too long", f"{len(mono) / RATE:.2f} s, and a clip is {CLIP / RATE:.3f} s")
        said.append(f"longer than {CLIP / RATE:.3f} s: {'cut into clips' if options.long == 'cut' else 'cut short'}")
        pieces = list(mono.split(CLIP))[: 1 if options.long == "first" else None]
        pieces = [piece for piece in pieces if len(piece) >= least and piece.abs().max() >= SILENT]
    return torch.stack([centred(levelled(piece)) for piece in pieces]), said


# --- a folder --------------------------------------------------------------------------------------------------------


def listed(path: str) -> list[str]:
    """Sound files below a folder, by their relative paths."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise LimbeckError(f"data.path: no folder {path!r}. Give a folder with {', '.join(SUFFIXES)} files")
    found = sorted(
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
    )
    if not found:
        raise LimbeckError(f"data.path: no {', '.join(SUFFIXES)} file below {path}. Put sounds there, or fix the path")
    return found


def _fingerprint(root: Path, names: Sequence[str]) -> str:
    out = hashlib.blake2b(digest_size=16)
    for name in names:
        with open(root / name, "rb") as file:
            out.update(f"{name}|{hashlib.file_digest(file, 'blake2b').hexdigest()}|".encode())
    return out.hexdigest()


def _decoded(root: Path, names: Sequence[str], options: AudioFolderOptions) -> dict[str, Tensor]:
    mels, owners = [], []
    notes: dict[str, dict[str, list[str]]] = {"left_out": {}, "converted": {}}
    for index, name in enumerate(names):
        try:
            try:
                sound, rate = wav.read(root / name)
            except (OSError, ValueError) as err:
                raise Unusable("unreadable", str(err)) from err
            clips, said = converted(sound, rate, options)
        except Unusable as err:
            if options.bad_files == "error":
                raise LimbeckError(
                    f"data.path: {root / name} is {err.kind}: {err}. To hint it, {_HINTS[err.kind]}; or "
                    "data.bad_files=skip"
                ) from err
            notes["left_out"].setdefault(err.kind, []).append(name)
            continue
        with torch.no_grad():
            mels.append(SPACE.codec.encode(clips).half())
        owners.extend([index] * len(clips))
        for text in said:
            notes["converted"].setdefault(text, []).append(name)
    return {
        "mels": torch.cat(mels) if mels else torch.zeros(0, *SPACE.event, dtype=torch.float16),
        "owners": torch.tensor(owners, dtype=torch.int64),
        "notes": torch.tensor(list(json.dumps(notes).encode()), dtype=torch.uint8),
    }


def _counted(what: Mapping[str, Sequence[str]]) -> str:
    parts = []
    for kind, names in what.items():
        some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        parts.append(f"{len(names)} {kind} ({some})")
    return "; ".join(parts)


def _as_it_is_now(path: str) -> tuple[tuple[str, int, int], ...]:
    """Name, bytes and time of change of every sound file."""
    found = ((name, (Path(path).expanduser() / name).stat()) for name in listed(path))
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


@lru_cache(maxsize=8)
def _folder(
    options: AudioFolderOptions, files: tuple[tuple[str, int, int], ...]
) -> tuple[Tensor, Tensor, list[str], dict[str, Any]]:
    """Log-mels (N, 1, 64, 64) float16, the file each came from (N,), the files, and the notes. Says what it did."""
    root = Path(options.path).expanduser()
    names = [name for name, _, _ in files]
    follows_from = {
        "format": FORMAT,
        "front_end": SPACE.codec.fingerprint(),
        "files": _fingerprint(root, names),
        "how": options.model_dump(include={"long", "min_seconds", "clipped", "bad_files"}),
    }
    held = disk_cache.cached("audio_folder", follows_from, lambda: _decoded(root, names, options))
    notes = json.loads(bytes(held["notes"].tolist()))
    missing = sum(map(len, notes["left_out"].values()))
    if missing:
        hints = "; ".join(f"{kind}: {_HINTS[kind]}" for kind in notes["left_out"])
        said = f"{missing} of {len(names)} files left out: {_counted(notes['left_out'])}. {hints}"
        if missing == len(names):
            raise LimbeckError(f"data.path: nothing in {options.path} can be used; {said}")
        warnings.warn(f"{options.path}: {said}", stacklevel=4)
    if notes["converted"]:
        warnings.warn(f"{options.path}: {_counted(notes['converted'])}", stacklevel=4)
    return held["mels"], held["owners"], names, notes


def _held_out(names: Sequence[str]) -> set[str]:
    """A tenth of the files of every class, at least one where there are two, by the hash of their names."""
    by_class: dict[str, list[str]] = {}
    for name in names:
        by_class.setdefault(name.split("/")[0] if "/" in name else "", []).append(name)
    chosen: set[str] = set()
    for members in by_class.values():
        ranked = sorted(members, key=lambda name: hashlib.blake2b(name.encode(), digest_size=8).digest())
        chosen.update(ranked[: max(1, round(len(ranked) / 10))] if len(ranked) > 1 else ())
    return chosen


class AudioFolder(Data):
    """Clips of a folder as log-mels (B, 1, 64, 64); `cond` is the place of the class among `words`, (B,) int64, or None
    where files lie in no folders (or `labels: none`).

    Whole files are held out, never a part of one. `notes` says which files were left out and which converted.
    """

    Options = AudioFolderOptions

    def __init__(self, **options: Any):
        self.options = AudioFolderOptions(**options)
        self.space, self.name = SPACE, self.options.split
        self.licence = f"sound files of the user, {self.options.path}"
        mels, owners, names, self.notes = _folder(
            self.options.model_copy(update={"split": "train", "labels": "none"}), _as_it_is_now(self.options.path)
        )
        used = [names[k] for k in owners.unique().tolist()]
        held_out = _held_out(used)
        if not held_out and self.name == "held_out":
            raise LimbeckError(
                f"data.path: one file in {self.options.path} cannot be split into train and held_out; add a second one"
            )
        labels = self._labels(used)
        wanted = [(names[k] in held_out) == (self.name == "held_out") for k in owners.tolist()]
        rows = torch.nonzero(torch.tensor(wanted)).flatten()
        self.mels = mels[rows]
        self.files = [names[k] for k in owners[rows].tolist()]
        self.labels = None if labels is None else torch.tensor([labels[name] for name in self.files])

    def _labels(self, names: Sequence[str]) -> dict[str, int] | None:
        self.words: tuple[str, ...] | None = None
        inside = [name for name in names if "/" in name]
        if self.options.labels == "none" or not inside:
            return None
        if len(inside) < len(names):
            loose = next(name for name in names if "/" not in name)
            raise LimbeckError(
                f"data.path: folders below {self.options.path} name classes, but {len(names) - len(inside)} files lie "
                f"in none ({loose}). Move them into one, or set data.labels=none"
            )
        self.words = tuple(sorted({name.split("/")[0] for name in inside}))
        return {name: self.words.index(name.split("/")[0]) for name in names}

    def __len__(self) -> int:
        return len(self.mels)

    def batch(self, indices: Tensor) -> Batch:
        rows = indices.cpu()
        cond = None if self.labels is None else self.labels[rows]
        return Batch(x0=self.mels[rows].float(), cond=cond).to(indices.device)

    def conditions(self, count: int, rng: Rng) -> Tensor | None:
        return None if self.labels is None else self.labels[rng.integers("conditions", len(self), (count,)).cpu()]

    def split(self, name: Literal["train", "held_out"]) -> "AudioFolder":
        return AudioFolder(**{**self.options.model_dump(), "split": name})


__all__ = ["AudioFolder", "Unusable", "converted", "listed"]
