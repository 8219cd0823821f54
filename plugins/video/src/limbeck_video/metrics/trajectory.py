"""Metrics on clips (N, F, C, H, W) in [-1, 1]; formulas are pure functions. What they read clips with: `readers`.

As for images, distances are to the training clips, and the held-out ones are the floor: how far fresh real clips are
from them. Counts matter (a distance of few samples is too large), so every distance that is compared with the floor
takes equally many.

Letters: N clips, F frames, D features.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Codec, Data, Metric
from limbeck_video.data.moving_digits import SIDE
from limbeck_video.features.readers import WINDOW, clip_features, read_frames, read_labels, windows
from limbeck_video.options.clips import FrechetOptions, TrajectoryOptions
from limbeck_video.physics import tracks

Way = Mapping[str, Literal["lower", "higher"]]


# --- formulas --------------------------------------------------------------------------------------------------------


def distance(features_a: Tensor, features_b: Tensor) -> float:
    """Frechet distance of two sets of features (..., D), all rows of a set taken together."""
    return frechet_distance(*moments(features_a.flatten(0, -2)), *moments(features_b.flatten(0, -2)))


def ink(clips: Tensor) -> Tensor:
    """Brightness of each frame of clips (N, F, C, H, W) in [-1, 1]: mean over pixels of (value + 1) / 2, (N, F)."""
    return (clips.detach().double().flatten(2).mean(dim=2) + 1) / 2


def flicker(clips: Tensor) -> Tensor:
    """How much brightness jumps up and down: mean over frames of |b_t - (b_{t-1} + b_{t+1}) / 2|, over mean b, (N,).

    0 for brightness that is constant or changes evenly, 2a for one that alternates between 1 - a and 1 + a.
    """
    bright = ink(clips)
    if bright.shape[1] < 3:
        raise ValueError(f"flicker compares a frame with both its neighbours; got clips of {bright.shape[1]} frames")
    bend = bright[:, 1:-1] - (bright[:, :-2] + bright[:, 2:]) / 2
    return bend.abs().mean(dim=1) / bright.mean(dim=1).clamp_min(1e-3)


def frame_features(clips: Tensor) -> Tensor:
    return read_frames(clips).features


@torch.no_grad()
def seen(samples: Tensor, data: Data) -> Tensor:
    """Samples of the space that `data` lives in as clips to look at: decoded, a few at a time, where there is a
    codec."""
    codec = data.space.codec
    if type(codec) is Codec:
        return samples
    return torch.cat([codec.decode(part).cpu() for part in samples.split(8)])


def some(data: Data, count: int) -> Tensor:
    """At most `count` clips of a split, evenly spaced among its rows, to look at."""
    rows = torch.linspace(0, len(data) - 1, min(len(data), count)).long()
    return seen(torch.cat([data.batch(part).x0 for part in rows.split(250)]), data)  # type: ignore[misc]


def thinned(clips: Tensor) -> Tensor:
    """A third of the frames, others of every clip: neighbours are nearly alike, and reading takes time. Clips of fewer
    than three frames stay whole."""
    if clips.shape[1] < 3:
        return clips
    return torch.stack([clip[k % 3 :: 3][: clips.shape[1] // 3] for k, clip in enumerate(clips)])


# --- metrics ---------------------------------------------------------------------------------------------------------


class _Frechet(Metric):
    """Distance of features to those of training clips; the floor is that of equally many held-out clips."""

    Options = FrechetOptions
    name: ClassVar[str]
    features: ClassVar[Callable[[Tensor], Tensor]]

    def __init__(self, clips: int = 1000):
        self.clips = clips
        self._train: weakref.WeakKeyDictionary[Data, Tensor] = weakref.WeakKeyDictionary()
        self._floors: weakref.WeakKeyDictionary[Data, dict[int, float]] = weakref.WeakKeyDictionary()

    def training(self, reference: Data) -> Tensor:
        """Features of the training clips, read once for every data set."""
        if reference not in self._train:
            clips = some(reference.split("train"), self.clips)
            self._train[reference] = type(self).features(self.thinned(clips))
        return self._train[reference]

    def floor(self, reference: Data, count: int) -> float:
        """The distance of `count` held-out clips to the training ones."""
        known = self._floors.setdefault(reference, {})
        if count not in known:
            fresh = type(self).features(some(reference.split("held_out"), count))
            known[count] = distance(fresh, self.training(reference))
        return known[count]

    def thinned(self, clips: Tensor) -> Tensor:
        return clips

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        train = self.training(reference)
        ours = type(self).features(seen(samples, reference))
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
    features = staticmethod(frame_features)
    better: ClassVar[Way] = {
        "frame_frechet": "lower", "frame_frechet_real": "lower", "frame_frechet_ratio": "lower",
    }  # fmt: skip

    def thinned(self, clips: Tensor) -> Tensor:
        return thinned(clips)


class MotionFrechet(_Frechet):
    """`motion_frechet`: distance of windows of 12 frames to those of training clips, in features that tell where things
    are, how fast they go and whether the motion was tampered with; and the floor and the ratio to it."""

    name = "motion_frechet"
    features = staticmethod(clip_features)
    better: ClassVar[Way] = {
        "motion_frechet": "lower", "motion_frechet_real": "lower", "motion_frechet_ratio": "lower",
    }  # fmt: skip


def _digits(samples: Tensor, reference: Data, metric: str) -> Tensor:
    """Clips of moving digits to look at; refused when they are something else, which nobody here can read."""
    clips = seen(samples, reference)
    if clips.ndim != 5 or clips.shape[2:] != (1, SIDE, SIDE):
        raise ValueError(
            f"{metric} reads digits in grey clips of {SIDE}x{SIDE} pixels, (N, F, 1, {SIDE}, {SIDE}); got "
            f"{tuple(clips.shape)}. Leave it out of evaluate.metrics for other clips"
        )
    return clips


class LabelAccuracy(Metric):
    """`label_accuracy`: share of clips in which both digits asked for are read, by all frames together."""

    better: ClassVar[Way] = {"label_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        if not isinstance(cond, Tensor) or cond.ndim != 2 or cond.shape[1] != 2:
            given = tuple(cond.shape) if isinstance(cond, Tensor) else type(cond).__name__
            raise ValueError(
                f"label_accuracy needs the two labels that every clip was made for, (N, 2); got {given}. "
                "Leave it out of evaluate.metrics for other clips"
            )
        right = (read_labels(_digits(samples, reference, "label_accuracy")) == cond.cpu().sort(dim=1).values).all(dim=1)
        return {"label_accuracy": right.double().mean().item()}


class TrajectoryError(Metric):
    """`trajectory_error`: mean distance, in pixels, of the digits from the best paths of constant velocity between the
    walls, over windows of 12 frames. What real clips show is the error of reading."""

    Options = TrajectoryOptions
    better: ClassVar[Way] = {"trajectory_error": "lower"}

    def __init__(self, clips: int = 250):
        self.clips = clips

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        places = read_frames(_digits(samples, reference, "trajectory_error")).corners[: self.clips]
        if places.shape[1] > WINDOW:
            places = windows(places).flatten(0, 1)
        return {"trajectory_error": torch.cat([tracks.distances(part) for part in places.split(50)]).mean().item()}


class Flicker(Metric):
    """`flicker`: how much brightness jumps from frame to frame, as a share of it. Bouncing digits conserve ink, so real
    clips show little."""

    better: ClassVar[Way] = {"flicker": "lower"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        return {"flicker": flicker(seen(samples, reference)).mean().item()}


__all__ = [
    "Flicker", "FrameFrechet", "LabelAccuracy", "MotionFrechet", "TrajectoryError", "distance", "flicker",
    "frame_features", "ink", "seen", "some", "thinned",
]  # fmt: skip
