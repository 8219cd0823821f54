"""One clip of sound: silence cut off, loudness set, 1.024 s long. Waveforms (S,) at 16 kHz, float32."""

import torch
from torch import Tensor
from torch.nn import functional

from limbeck_audio.signal.mel import CLIP

LOUDNESS = 0.1  # root mean square of what is not silence: -20 dB of full scale
PEAK = 0.99
SILENCE = 0.01  # share of the peak below which the ends of a clip are silence: -40 dB
FADE = 80  # samples of the ramps at both ends: 5 ms


def trimmed(sound: Tensor) -> Tensor:
    """The part from the first to the last sample above -40 dB of the peak, (S',); empty for silence."""
    loud = torch.nonzero(sound.abs() > SILENCE * sound.abs().max()).flatten()
    return sound[loud[0] : loud[-1] + 1] if len(loud) else sound[:0]


def normalize_loudness(sound: Tensor, loudness: float = LOUDNESS) -> Tensor:
    """Scaled to a root mean square of `loudness`, or less where the peak would pass 0.99. Silence stays."""
    rms, peak = sound.square().mean().sqrt(), sound.abs().max()
    return sound if peak == 0 else sound * torch.minimum(loudness / rms, PEAK / peak)


def pad_or_crop(sound: Tensor, length: int = CLIP) -> Tensor:
    """In the middle of `length` samples, with short ramps at its ends; what is longer loses both ends. (length,)"""
    excess = max(0, len(sound) - length)
    sound = sound[excess // 2 : excess // 2 + length]
    ramp = torch.ones(len(sound))
    rising = torch.linspace(0, 1, FADE + 1)[1:][: len(sound) // 2]
    ramp[: len(rising)] *= rising
    ramp[len(sound) - len(rising) :] *= rising.flip(0)
    left = (length - len(sound)) // 2
    return functional.pad(sound * ramp, (left, length - len(sound) - left))


__all__ = ["LOUDNESS", "normalize_loudness", "pad_or_crop", "trimmed"]
