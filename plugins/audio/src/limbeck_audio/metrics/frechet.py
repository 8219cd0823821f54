"""Frechet audio distance in the features of the bundled classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Data, Metric
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.metrics.reference import features_of


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
        train, held_out = (moments(features_of(reference, split)) for split in ("train", "held_out"))
        return {
            "frechet_audio": frechet_distance(*ours, *train),
            "frechet_audio_held_out": frechet_distance(*ours, *held_out),
        }
