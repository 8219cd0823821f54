"""Frechet distances of clips (N, F, C, H, W) in [-1, 1], by frames and by motion, in the features of the bundled
networks.

As for images, distances are to the training clips, and the held-out ones are the floor: how far fresh real clips are
from them. Counts matter (a distance of few samples is too large), so every distance that is compared with the floor
takes equally many.

Letters: N clips, F frames, D features.
"""

import weakref
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Data, Metric
from limbeck_video.features.clip_encoder import clip_features
from limbeck_video.features.frame_detector import detect
from limbeck_video.metrics.clips import decoded, evenly_spaced, thinned
from limbeck_video.options.measures import FrechetOptions


def distance(features_a: Tensor, features_b: Tensor) -> float:
    """Frechet distance of two sets of features (..., D), all rows of a set taken together."""
    return frechet_distance(*moments(features_a.flatten(0, -2)), *moments(features_b.flatten(0, -2)))


def frame_features(clips: Tensor) -> Tensor:
    """Whitened features of every frame, (N, F, 64)."""
    return detect(clips).features


class _Frechet(Metric):
    """Distance of features to those of training clips; the floor is that of equally many held-out clips."""

    Options = FrechetOptions
    name: ClassVar[str]

    def __init__(self, clips: int = 1000):
        self.clips = clips
        self._train: weakref.WeakKeyDictionary[Data, Tensor] = weakref.WeakKeyDictionary()
        self._floors: weakref.WeakKeyDictionary[Data, dict[int, float]] = weakref.WeakKeyDictionary()

    def training(self, reference: Data) -> Tensor:
        """Features of the training clips, computed once for every data set."""
        if reference not in self._train:
            clips = evenly_spaced(reference.split("train"), self.clips)
            self._train[reference] = self.features(self.thinned(clips))
        return self._train[reference]

    def floor(self, reference: Data, count: int) -> float:
        """The distance of `count` held-out clips to the training ones."""
        known = self._floors.setdefault(reference, {})
        if count not in known:
            fresh = self.features(evenly_spaced(reference.split("held_out"), count))
            known[count] = distance(fresh, self.training(reference))
        return known[count]

    def features(self, clips: Tensor) -> Tensor:
        raise NotImplementedError

    def thinned(self, clips: Tensor) -> Tensor:
        return clips

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        train = self.training(reference)
        ours = self.features(decoded(samples, reference))
        count = min(len(ours), len(reference.split("held_out")))
        floor = self.floor(reference, count)
        found = distance(ours, train)
        compared = found if count == len(ours) else distance(ours[:count], train)
        return {
            self.name: found,
            f"{self.name}_real": floor,
            f"{self.name}_ratio": compared / max(floor, 1e-9),
        }


class FrameFrechet(_Frechet):
    """`frame_frechet`: distance of single frames to those of training clips. `frame_frechet_real`: the same of as many
    held-out clips. `frame_frechet_ratio`: one over the other; 1 is as good as real."""

    name = "frame_frechet"
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "frame_frechet": "lower", "frame_frechet_real": "lower", "frame_frechet_ratio": "lower",
    }  # fmt: skip

    def features(self, clips: Tensor) -> Tensor:
        return frame_features(clips)

    def thinned(self, clips: Tensor) -> Tensor:
        return thinned(clips)


class MotionFrechet(_Frechet):
    """`motion_frechet`: distance of windows of 12 frames to those of training clips, in features that hold where
    things are, how fast they go and whether the motion was corrupted; and the floor and the ratio to it."""

    name = "motion_frechet"
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "motion_frechet": "lower", "motion_frechet_real": "lower", "motion_frechet_ratio": "lower",
    }  # fmt: skip

    def features(self, clips: Tensor) -> Tensor:
        return clip_features(clips)


__all__ = ["FrameFrechet", "MotionFrechet", "distance", "frame_features"]
