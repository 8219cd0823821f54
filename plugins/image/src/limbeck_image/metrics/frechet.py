"""Frechet distance in the features of the bundled classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Data, Metric
from limbeck_image.features.convnet import describe
from limbeck_image.metrics.reference import reference_of


class Frechet(Metric):
    """`frechet`: against the training scans. `frechet_held_out`: against the held-out ones; its floor is higher because
    360 scans estimate a covariance badly."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"frechet": "lower", "frechet_held_out": "lower"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        ours = moments(describe(samples)[0])
        train, held_out = (moments(reference_of(reference, split)[1]) for split in ("train", "held_out"))
        return {"frechet": frechet_distance(*ours, *train), "frechet_held_out": frechet_distance(*ours, *held_out)}
