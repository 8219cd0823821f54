"""Data `spoken_digits` and `spoken_words`: every word in every voice, at every pitch and speed, by espeak-ng.

Nothing is downloaded or bundled: clips are synthesised where they are used (a minute at most, then kept on disk).
espeak-ng is free software under the GPL 3 that we load, not ship; the sound it makes is ours to use.
"""

from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data
from limbeck.randomness import Rng
from limbeck_audio.options.data import DIGITS, SpokenDigitsOptions, SpokenWordsOptions
from limbeck_audio.signal.clips import normalize_loudness, pad_or_crop, trimmed
from limbeck_audio.signal.mel import CLIP, RATE, SPACE, resample
from limbeck_audio.synthesis import espeak as voices

WORDS = DIGITS
LICENCE = "speech synthesised by espeak-ng (the program is GPL-3.0-or-later; its output is not covered by it)"
FORMAT = 2  # of what is kept on disk: raised when clips are cut or brought to another loudness


def spoken(voice: str, words: tuple[str, ...], pitches: tuple[int, ...], speeds: tuple[int, ...]) -> Tensor:
    """Clips of one voice, (words * pitches * speeds, 16384) at 16 kHz, speeds changing fastest. No randomness."""
    utterances = [voices.Utterance(w, pitch, speed) for w in words for pitch in pitches for speed in speeds]
    sounds, rate = voices.synthesize(voice, utterances)
    length = max(map(len, sounds))
    padded = torch.stack([torch.nn.functional.pad(torch.from_numpy(s), (0, length - len(s))) for s in sounds])
    clips = [trimmed(sound) for sound in resample(padded, rate)]
    for utterance, clip in zip(utterances, clips, strict=True):
        if len(clip) > CLIP:
            raise LimbeckError(
                f"{utterance.text!r} takes {len(clip) / RATE:.2f} s at speed {utterance.speed} in voice {voice!r}, and "
                f"a clip is {CLIP / RATE:.3f} s. Choose shorter words (data.words) or higher speeds (data.speeds)"
            )
    return torch.stack([pad_or_crop(normalize_loudness(clip)) for clip in clips])


@lru_cache(maxsize=8)
def _mels(names: tuple[str, ...], words: tuple[str, ...], pitches: tuple[int, ...], speeds: tuple[int, ...]) -> Tensor:
    """Log-mels of all clips, voice after voice, (N, 1, 64, 64) float16."""

    def make() -> dict[str, Tensor]:
        with torch.no_grad():
            each = [SPACE.codec.encode(spoken(voice, words, pitches, speeds)).half() for voice in names]
        return {"mels": torch.cat(each)}

    follows_from = {
        "format": FORMAT,
        "synthesiser": f"espeak-ng {voices.version()}",
        "front_end": SPACE.codec.fingerprint(),
        "voices": names,
        "words": words,
        "pitches": pitches,
        "speeds": speeds,
    }
    return disk_cache.cached("speech", follows_from, make)["mels"]


class SpokenWords(Data):
    """Log-mels (B, 1, 64, 64) of spoken words; `cond` is the place of the word in `words`, (B,) int64.

    Rows run over voices, then words, pitches and speeds. The split `held_out` holds voices that `train` never hears,
    with the same words, pitches and speeds. Raises SpeechError without espeak-ng.
    """

    Options: Any = SpokenWordsOptions
    licence = LICENCE

    def __init__(self, **options: Any):
        self.options = self.Options(**options)
        self.space, self.name = SPACE, self.options.split
        self.words: tuple[str, ...] = getattr(self.options, "words", WORDS)
        self.voices = self.options.voices if self.name == "train" else self.options.held_out_voices
        self.mels = _mels(self.voices, self.words, self.options.pitches, self.options.speeds)
        self._takes = len(self.options.pitches) * len(self.options.speeds)
        self.labels = (torch.arange(len(self.mels)) // self._takes) % len(self.words)

    def __len__(self) -> int:
        return len(self.mels)

    def batch(self, indices: Tensor) -> Batch:
        rows = indices.cpu()
        return Batch(x0=self.mels[rows].float(), cond=self.labels[rows]).to(indices.device)

    def conditions(self, count: int, rng: Rng) -> Tensor:
        return self.labels[rng.integers("conditions", len(self), (count,)).cpu()]

    def split(self, name: Literal["train", "held_out"]) -> "SpokenWords":
        return type(self)(**{**self.options.model_dump(), "split": name})

    def voice(self, row: int) -> str:
        """The voice of a row."""
        return self.voices[row // (self._takes * len(self.words))]

    def sound(self, row: int) -> Tensor:
        """The clip itself, (16384,) at 16 kHz, synthesised again: what the mel of that row was made from."""
        per_voice = self._takes * len(self.words)
        return spoken(self.voice(row), self.words, self.options.pitches, self.options.speeds)[row % per_voice]


class SpokenDigits(SpokenWords):
    """The ten digits: 2,880 clips in 24 voices to train on, 720 in six others held out."""

    Options = SpokenDigitsOptions


__all__ = ["LICENCE", "SPACE", "WORDS", "SpokenDigits", "SpokenWords", "spoken"]
