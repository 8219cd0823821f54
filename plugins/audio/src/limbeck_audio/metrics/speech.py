"""Metrics on spoken words: in the features of the bundled classifier, in decibels, and against the clock.

Letters: N, P sample counts, M mels, F frames, D features. Distribution metrics compare with all training clips (2,880
in voices the generator heard) and with all held-out ones (720 in voices it never heard): a Frechet distance falls as
counts grow, so numbers of different counts of samples do not compare.
"""

import math
import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Data, Metric, ModelMetric, Sampler, unwrap
from limbeck.randomness import Rng
from limbeck.sampling.samples import device_of, generate
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.options.sounds import DIGITS, RealTimeOptions
from limbeck_audio.signal.mel import DB_PER_UNIT, FRAMES, HOP, MELS, RATE

# --- formulas --------------------------------------------------------------------------------------------------------


def log_spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over frames of the root mean square difference over mels, in dB. a, b (N, 1, M, F) log-mels -> (N,).

    Gray & Markel 1976, on mel bands instead of frequency bins.
    """
    difference = DB_PER_UNIT * (a - b)[:, 0]  # (N, M, F)
    return difference.square().mean(dim=1).sqrt().mean(dim=1)


def nearest_in_decibels(queries: Tensor, pool: Tensor) -> Tensor:
    """Log-spectral distance of every query (N, 1, M, F) to the nearest of the pool (P, 1, M, F), (N,)."""
    a, b = (mels[:, 0].permute(2, 0, 1) for mels in (queries, pool))  # (F, N, M), (F, P, M)
    closest = torch.zeros(len(queries), len(pool))
    for one, other in zip(a, b, strict=True):
        closest += torch.cdist(one, other)
    # by way of matrix products: good enough to choose, not to measure a copy with
    return log_spectral_distance(queries, pool[closest.argmin(dim=1)])


# --- metrics ---------------------------------------------------------------------------------------------------------

_CLIPS: dict[str, tuple[Tensor, Tensor | None]] = {}
_FEATURES: dict[str, Tensor] = {}


def _key(data: Data, split: str) -> str:
    options = getattr(data, "options", None)
    return f"{type(data).__qualname__}/{split}/{options!r}"


def _clips(data: Data, split: Literal["train", "held_out"]) -> tuple[Tensor, Tensor | None]:
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


def _features(data: Data, split: Literal["train", "held_out"]) -> Tensor:
    key = _key(data, split)
    if key not in _FEATURES:
        _FEATURES[key] = describe(_clips(data, split)[0])[0]
    return _FEATURES[key]


class FrechetAudio(Metric):
    """Frechet audio distance (Kilgour et al. 2019) in the features of the bundled classifier, whitened.

    `frechet_audio`: to all clips of the training voices; `frechet_audio_held_out`: to all clips of the held-out ones,
    other voices, so that its floor is higher. Compare numbers of equally many samples only.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "frechet_audio": "lower",
        "frechet_audio_held_out": "lower",
    }

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        ours = moments(describe(samples)[0])
        train, held_out = (moments(_features(reference, split)) for split in ("train", "held_out"))
        return {
            "frechet_audio": frechet_distance(*ours, *train),
            "frechet_audio_held_out": frechet_distance(*ours, *held_out),
        }


class DigitAccuracy(Metric):
    """`digit_accuracy`: share of samples that the bundled classifier hears as the digit they were asked for.

    nan, with a warning, where the data's words are no digits."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"digit_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        words = getattr(reference, "words", None)
        if cond is None or words is None or tuple(words) != DIGITS:
            said = "have no condition" if cond is None else f"say {', '.join(words or ('something else',))}"
            warnings.warn(  # no error: it would come after hours of training
                f"digit_accuracy is nan: it reads {DIGITS[0]} to {DIGITS[-1]}, in that order; these samples {said}. "
                "Leave it out of evaluate.metrics, or use data: {use: audio/spoken_digits}",
                stacklevel=2,
            )
            return {"digit_accuracy": math.nan}
        return {"digit_accuracy": (describe(samples)[1] == cond.cpu()).double().mean().item()}


class LogSpectralDistance(Metric):
    """How far the nearest real clip of the same word is, in dB; the mean over samples.

    `log_spectral_distance`: among the training clips; `log_spectral_distance_held_out`: among the held-out ones. Copies
    have 0 in the first; fresh recordings of other voices what the row of real data says. Without labels the nearest
    clip of all counts.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "log_spectral_distance": "lower",
        "log_spectral_distance_held_out": "lower",
    }

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        ours = samples.detach().float().cpu()
        found = {}
        for name, split in zip(self.better, ("train", "held_out"), strict=True):
            pool, labels = _clips(reference, split)  # type: ignore[arg-type]
            if cond is None or labels is None:
                found[name] = nearest_in_decibels(ours, pool).mean().item()
                continue
            wanted = cond.cpu()
            each = [nearest_in_decibels(ours[wanted == k], pool[labels == k]) for k in wanted.unique()]
            found[name] = torch.cat(each).mean().item()
        return found


class RealTimeFactor(ModelMetric):
    """Seconds of work for a second of sound, `batch` clips at once; below 1 is faster than they are played.

    `real_time_factor`: the network's calls and the vocoder (the codec's decode: Griffin-Lim);
    `real_time_factor_network`: the network's calls alone. Medians after one run to warm up, by the wall's clock, on the
    device and with the threads that the run has.
    """

    Options = RealTimeOptions
    samples = True
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "real_time_factor": "lower",
        "real_time_factor_network": "lower",
    }

    def __init__(self, batch: int = 1, repeats: int = 5):
        self.batch, self.repeats = batch, repeats

    def __call__(
        self, model: Any, teacher: Any, reference: Data, *, sampler: Sampler | None = None, steps: int = 1
    ) -> dict[str, float]:
        if sampler is None:
            return {}
        network = unwrap(model)
        cond = reference.conditions(self.batch, Rng(0, phase="timing"))
        made = generate(
            network, sampler, steps=steps, count=self.batch, cond=cond, batch_size=self.batch, timed=True
        )  # fmt: skip
        assert made.ms_per_sample is not None
        network_seconds = made.ms_per_sample / 1000 * self.batch
        value = made.samples.value.to(device_of(network))
        network.space.codec.decode(value)
        vocoder_seconds = statistics.median(_seconds(network.space.codec, value) for _ in range(self.repeats))
        played = self.batch * network.space.event[-1] * HOP / RATE
        return {
            "real_time_factor": (network_seconds + vocoder_seconds) / played,
            "real_time_factor_network": network_seconds / played,
        }


def _seconds(codec: Any, value: Tensor) -> float:
    started = time.perf_counter()
    codec.decode(value)
    if value.is_cuda:
        torch.cuda.synchronize(value.device)
    return time.perf_counter() - started


__all__ = [
    "DigitAccuracy", "FrechetAudio", "LogSpectralDistance", "RealTimeFactor", "log_spectral_distance",
    "nearest_in_decibels",
]  # fmt: skip
