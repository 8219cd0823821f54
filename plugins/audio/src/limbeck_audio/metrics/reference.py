"""Real clips and their features, which samples are compared with.

Distribution metrics compare with all training clips (2,880 in voices the generator heard) and with all held-out ones
(720 in voices it never heard): a Frechet distance falls as counts grow, so numbers of different counts of samples do
not compare. Letters: P clips, M mels, F frames, D features.
"""

from typing import Literal

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Data
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.signal.mel import FRAMES, MELS

_CLIPS: dict[str, tuple[Tensor, Tensor | None]] = {}
_FEATURES: dict[str, Tensor] = {}


def _key(data: Data, split: str) -> str:
    options = getattr(data, "options", None)
    return f"{type(data).__qualname__}/{split}/{options!r}"


def clips_of(data: Data, split: Literal["train", "held_out"]) -> tuple[Tensor, Tensor | None]:
    """Log-mels (P, 1, M, F) and labels (P,) of a split; read once per process."""
    if tuple(data.space.event) != (1, MELS, FRAMES):
        raise LimbeckError(
            f"metrics of sound compare log-mels of shape {(1, MELS, FRAMES)}; this data is {tuple(data.space.event)}. "
            "Use data: {use: audio/spoken_digits} or {use: audio/audio_folder}"
        )
    key = _key(data, split)
    if key not in _CLIPS:
        part = data.split(split)
        batch = part.batch(torch.arange(len(part)))
        assert batch.x0 is not None
        _CLIPS[key] = batch.x0, batch.cond
    return _CLIPS[key]


def features_of(data: Data, split: Literal["train", "held_out"]) -> Tensor:
    """Features (P, D) of a split by the bundled classifier; computed once per process."""
    key = _key(data, split)
    if key not in _FEATURES:
        _FEATURES[key] = describe(clips_of(data, split)[0])[0]
    return _FEATURES[key]
