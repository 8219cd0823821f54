"""Sound files by soundfile (libsndfile): WAV, FLAC and what else it reads. Waveforms in [-1, 1]."""

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.files import write_whole
from limbeck_audio.signal.mel import RATE

FORMATS: dict[str, Literal["WAV", "FLAC"]] = {".wav": "WAV", ".flac": "FLAC"}


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError as err:
        raise LimbeckError("sound files need soundfile: pip install soundfile") from err
    except OSError as err:  # a wheel without its library, on systems it has none for
        raise LimbeckError(f"soundfile finds no libsndfile ({err}): apt install libsndfile1, or its like") from err
    return soundfile


def encoded(sound: Tensor, kind: Literal["WAV", "FLAC"] = "WAV", rate: int = RATE) -> bytes:
    """A sound (S,) or (channels, S) as the bytes of a 16-bit file; beyond full scale it is cut. nan is silence."""
    samples = sound.detach().float().cpu().nan_to_num(0.0).clamp(-1, 1).numpy()
    buffer = io.BytesIO()
    _soundfile().write(buffer, samples.T, rate, format=kind, subtype="PCM_16")
    return buffer.getvalue()


def write(path: Path | str, sound: Tensor, rate: int = RATE) -> None:
    """One sound (S,) or (channels, S) as .wav or .flac."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot save sound as '{path.suffix}'. Use {' or '.join(FORMATS)}")
    write_whole(path, encoded(sound, FORMATS[path.suffix.lower()], rate))


def read(path: Path | str) -> tuple[Tensor, int]:
    """Samples (S, channels) float32 and the rate in Hz. Raises OSError or ValueError for what is no sound file."""
    soundfile = _soundfile()
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as err:
        raise ValueError(str(err.error_string).rstrip(". ")) from err
    return torch.from_numpy(np.ascontiguousarray(samples)), int(rate)


__all__ = ["FORMATS", "encoded", "read", "write"]
