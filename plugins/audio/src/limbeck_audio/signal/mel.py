"""Waveform to log-mel and back: the codec of the domain `mel`, resampling, and how torchaudio is loaded.

Letters: N clips, S audio samples (16 kHz mono, about [-1, 1]), K = 513 frequency bins, M = 64 mels, F frames.

    dB    = 10 log10 max(mel power, 1e-5)        from -50 dB up, mel power of a Hann window of 1024 samples
    value = (dB + 15) / 35                       -1 is silence (-50 dB and below), +1 is 20 dB

A clip whose active part has a root mean square of 0.1 reaches about 0.9. Frame k is centred on sample 256 k; the frame
that would be centred on the end of the clip is left out, so that S = 256 F.
"""

from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Codec, Space

RATE = 16_000  # Hz
N_FFT, HOP, MELS, FRAMES = 1024, 256, 64, 64
CLIP = HOP * FRAMES  # samples of a clip: 1.024 s
FLOOR_DB, CENTRE_DB, DB_PER_UNIT = -50.0, -15.0, 35.0
MULTIPLICATIVE_UPDATES = 8  # of the non-negative inverse of the mel filters: 0.4 dB from a 30-fold refinement
ITERATIONS = 32  # of Griffin-Lim; 16 are 0.05 dB worse, 60 as much better


class TorchaudioError(LimbeckError):
    """torchaudio is missing, or its native library does not load."""

    exit_code = 3


@lru_cache(maxsize=1)
def torchaudio() -> ModuleType:
    """torchaudio with `functional` and `transforms`, or TorchaudioError with the hint."""
    try:
        import torchaudio
        import torchaudio.functional
        import torchaudio.transforms
    except ImportError as err:
        if isinstance(err, ModuleNotFoundError) and err.name == "torchaudio":
            raise TorchaudioError(
                "limbeck-audio computes spectrograms with torchaudio, and it is not installed. "
                "Install it with: pip install torchaudio"
            ) from err
        raise _unloadable(err) from err
    except OSError as err:  # what a missing CUDA library raises
        raise _unloadable(err) from err
    return torchaudio


def _unloadable(err: Exception) -> TorchaudioError:
    return TorchaudioError(
        f"torchaudio is installed, but its native library does not load beside torch {torch.__version__}: {err}\n"
        "Most likely torch is a build for the CPU and torchaudio one for CUDA (the only one on PyPI). Either install "
        "the pair from one index (pip install torch torchaudio --index-url https://download.pytorch.org/whl/cpu), or "
        "move the native files of torchaudio aside (the files torchaudio/lib/*.so in site-packages): everything that "
        "limbeck-audio uses is plain torch and works without them."
    )


# --- formulas --------------------------------------------------------------------------------------------------------


def to_value(power: Tensor) -> Tensor:
    """Mel power -> value; silence is exactly -1. Same shape."""
    decibels = 10 * power.clamp_min(10 ** (FLOOR_DB / 10)).log10()
    return (decibels - CENTRE_DB) / DB_PER_UNIT


def to_decibels(value: Tensor) -> Tensor:
    """Value -> dB of mel power, same shape; not clamped."""
    return DB_PER_UNIT * value + CENTRE_DB


def to_power(value: Tensor) -> Tensor:
    """Value -> mel power above the floor, so that silence becomes 0. nan counts as silence. Same shape."""
    value = value.nan_to_num(-1.0).clamp(-1.0, 1.6)
    return (10 ** (to_decibels(value) / 10) - 10 ** (FLOOR_DB / 10)).clamp_min(0)


def unmel(power: Tensor, filters: Tensor, updates: int = MULTIPLICATIVE_UPDATES) -> Tensor:
    """Linear power (N, K, F) whose mels under `filters` (K, M) come nearest to `power` (N, M, F), never negative.

    Minimal-norm solution cut at zero, then multiplicative updates s <- s * (A m) / (A A^T s) with A = filters (Lee &
    Seung 2001, Eq. 4 with one factor fixed), which keep signs and lower |A^T s - m| monotonically.
    """
    wanted = power.transpose(-1, -2)  # (N, F, M)
    found = (wanted @ torch.linalg.pinv(filters)).clamp_min(1e-8)  # (N, F, K)
    towards = wanted @ filters.T
    for _ in range(updates):
        found = found * towards / ((found @ filters) @ filters.T).clamp_min(1e-12)
    return found.transpose(-1, -2)


# --- the codec -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _mel(device: torch.device, dtype: torch.dtype) -> Any:
    transform = torchaudio().transforms.MelSpectrogram(
        RATE, n_fft=N_FFT, hop_length=HOP, n_mels=MELS, f_min=0.0, f_max=RATE / 2, power=2.0, center=True,
        norm="slaney", mel_scale="slaney",
    )  # fmt: skip
    return transform.to(device=device, dtype=dtype)


def mel_filters(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Triangular filters on Slaney's mel scale, each of unit area, (K, M)."""
    return _mel(torch.device(device), dtype).mel_scale.fb


class MelCodec(Codec):
    """Waveform (N, S) <-> log-mel (N, 1, M, F), S = 256 F. `encode` is differentiable (flat below the floor); `decode`
    inverts the mel filters and finds a phase by Griffin-Lim, without gradients and without randomness."""

    rate = RATE

    def __init__(self, iterations: int = ITERATIONS, chunk: int = 16):
        super().__init__()
        self.iterations, self.chunk = iterations, chunk

    def encode(self, seen: Tensor) -> Tensor:
        if seen.ndim != 2 or seen.shape[1] % HOP or seen.shape[1] <= N_FFT // 2:
            raise ValueError(
                f"sound is (N, S) at {RATE} Hz, S a multiple of {HOP} above {N_FFT // 2}; got {tuple(seen.shape)}. "
                "Pad clips with zeros, and mix channels down to one"
            )
        power = _mel(seen.device, seen.dtype)(seen)[..., :-1]  # (N, M, F)
        return to_value(power)[:, None]

    @torch.no_grad()
    def decode(self, value: Tensor) -> Tensor:
        """(N, 1, M, F) -> (N, 256 F) in [-1, 1]. A row does not depend on the others."""
        if value.ndim != 4 or value.shape[1:3] != (1, MELS):
            raise ValueError(f"log-mels are (N, 1, {MELS}, F); got {tuple(value.shape)}")
        if len(value) == 0:
            return value.new_zeros(0, HOP * value.shape[-1])
        return torch.cat([self._sound(rows) for rows in value.detach().float().split(self.chunk)])

    def _sound(self, value: Tensor) -> Tensor:
        frames = value.shape[-1]
        linear = unmel(to_power(value[:, 0]), mel_filters(value.device))
        # the frame at the end of the clip, which `encode` leaves out, is taken to be like its neighbour
        linear = torch.cat([linear, linear[..., -1:]], dim=-1)  # (N, K, F + 1)
        griffin_lim = torchaudio().transforms.GriffinLim(
            N_FFT, n_iter=self.iterations, hop_length=HOP, power=2.0, length=HOP * frames, rand_init=False
        )
        return griffin_lim.to(value.device)(linear).clamp(-1, 1)

    def shown(self, value: Tensor) -> Tensor:
        """The log-mel itself: the view `mel` decodes the sounds that it plays."""
        return value

    def fingerprint(self) -> str:
        return f"mel {RATE} Hz, n_fft {N_FFT}, hop {HOP}, {MELS} slaney, {FLOOR_DB:g} dB, /{DB_PER_UNIT:g}"


SPACE = Space((1, MELS, FRAMES), domain="mel", codec=MelCodec())


# --- resampling ------------------------------------------------------------------------------------------------------


def resample(sound: Tensor, rate: int, to: int = RATE) -> Tensor:
    """(..., S) at `rate` Hz -> (..., ceil(S to / rate)) at `to` Hz, band-limited (torchaudio's windowed sinc)."""
    if rate == to:
        return sound
    return torchaudio().functional.resample(sound, rate, to)


__all__ = [
    "CLIP", "FRAMES", "HOP", "MELS", "N_FFT", "RATE", "SPACE", "MelCodec", "TorchaudioError", "mel_filters", "resample",
    "to_decibels", "to_power", "to_value", "torchaudio", "unmel",
]  # fmt: skip
