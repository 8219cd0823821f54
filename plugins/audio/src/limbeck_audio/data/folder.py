"""Data `audio_folder`: any folder of sound files, converted to clips.

Other rates are resampled, channels are mixed down; files that cannot be used (unreadable, silent, clipped, too short)
are left out and counted, or end the run by name if so chosen.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.data.folder import FolderData, Unusable
from limbeck_audio.options.data import AudioFolderOptions
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.clips import normalize_loudness, pad_or_crop, trimmed
from limbeck_audio.signal.mel import CLIP, RATE, SPACE, resample

FORMAT = 1  # of what is kept on disk: raised when clips are cut or brought to another loudness
SILENT = 1e-4  # peak, -80 dB of full scale
FULL_SCALE = 0.999


class AudioFolder(FolderData):
    """Clips of a folder as log-mels (B, 1, 64, 64); `cond` is the place of the class among `words`, (B,) int64, or None
    where files lie in no folders (or `labels: none`)."""

    Options = AudioFolderOptions
    options: AudioFolderOptions
    suffixes = (".wav", ".flac", ".ogg", ".mp3")
    group = "audio_folder"
    hints: ClassVar[Mapping[str, str]] = {
        "unreadable": "convert it (ffmpeg -i FILE FILE.wav) or take it out",
        "silent": "take it out",
        "clipped": "record it again at a lower level, or raise data.clipped",
        "too short": "lower data.min_seconds, or take it out",
        "too long": "data.long=cut takes clips of it",
        "not finite": "it holds nan or infinity: write it again",
    }

    def __init__(self, **options: Any):
        self.space = SPACE
        super().__init__(AudioFolderOptions(**options))
        self.licence = f"sound files of the user, {self.options.path}"

    @property
    def words(self) -> tuple[str, ...] | None:
        return self.classes

    def decode(self, path: Path) -> tuple[Tensor, list[str]]:
        """Log-mels (K, 1, 64, 64) float16 of one file."""
        try:
            sound, rate = wav.read(path)
        except (OSError, ValueError) as error:
            raise Unusable("unreadable", str(error)) from error
        clips, notes = converted(sound, rate, self.options)
        with torch.no_grad():
            return SPACE.codec.encode(clips).half(), notes

    def follows_from(self) -> dict[str, Any]:
        how = self.options.model_dump(include={"long", "min_seconds", "clipped"})
        return {"format": FORMAT, "front_end": SPACE.codec.fingerprint(), "how": how}


def converted(sound: Tensor, rate: int, options: AudioFolderOptions) -> tuple[Tensor, list[str]]:
    """Clips (K, 16384) at 16 kHz of a recording (S, channels) at `rate` Hz, and what was converted.

    Raises Unusable.
    """
    notes = []
    if not bool(torch.isfinite(sound).all()):
        raise Unusable("not finite", "holds nan or infinity")
    if sound.numel() and (share := (sound.abs() >= FULL_SCALE).float().mean().item()) >= max(options.clipped, 1e-9):
        raise Unusable("clipped", f"{100 * share:.1f} % of its samples are at full scale")
    if sound.shape[1] > 1:
        notes.append(f"mixed from {sound.shape[1]} channels to one")
    mono = sound.mean(dim=1)
    if len(mono) == 0 or mono.abs().max() < SILENT:
        raise Unusable("silent", "nothing in it is louder than -80 dB")
    if rate != RATE:
        notes.append(f"resampled from {rate:,} Hz to {RATE:,} Hz")
        mono = resample(mono, rate)
    mono = trimmed(mono)
    least = round(options.min_seconds * RATE)
    if len(mono) < least:
        raise Unusable("too short", f"{len(mono) / RATE:.3f} s of sound, and {options.min_seconds:g} s are the least")
    pieces = [mono]
    if len(mono) > CLIP:
        if options.long == "skip":
            raise Unusable("too long", f"{len(mono) / RATE:.2f} s, and a clip is {CLIP / RATE:.3f} s")
        notes.append(f"longer than {CLIP / RATE:.3f} s: {'cut into clips' if options.long == 'cut' else 'cut short'}")
        pieces = list(mono.split(CLIP))[: 1 if options.long == "first" else None]
        pieces = [piece for piece in pieces if len(piece) >= least and piece.abs().max() >= SILENT]
    return torch.stack([pad_or_crop(normalize_loudness(piece)) for piece in pieces]), notes


__all__ = ["AudioFolder", "converted"]
