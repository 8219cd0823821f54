"""How a streaming model drifts over a long rollout: distance to real frames window by window, clips that freeze, clips
that empty.

Letters: N clips, F frames, W windows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, ModelMetric, Sampler
from limbeck_video.features.clip_encoder import windows
from limbeck_video.metrics.clips import decoded, evenly_spaced, thinned
from limbeck_video.metrics.flicker import ink
from limbeck_video.metrics.frechet import distance, frame_features
from limbeck_video.options.measures import RolloutOptions
from limbeck_video.samplers.rollouts import long_rollout, streams

STILL, EMPTY = 0.1, 0.25  # of what real clips show in the median: less motion is frozen, less ink is empty

# --- formulas --------------------------------------------------------------------------------------------------------


def motion_energy(clips: Tensor) -> Tensor:
    """How much changes from frame to frame: mean |x_t - x_{t-1}| over pixels and frames, (N, F, C, H, W) -> (N,)."""
    return (clips[:, 1:] - clips[:, :-1]).double().abs().flatten(1).mean(dim=1)


@dataclass(frozen=True)
class Curve:
    """A long rollout, window by window, (W,) each: `distance` of its frames to real ones, and the shares of clips that
    are `frozen` and `empty` there."""

    distance: Tensor
    frozen: Tensor
    empty: Tensor

    @property
    def growth(self) -> float:
        """By how much the worst later window is farther from real frames than the first, as a share of the first; 0
        when none is."""
        first = self.distance[0].clamp_min(1e-9)
        return max(0.0, (self.distance.max() / first - 1).item())


def drift_curve(clips: Tensor, real: Tensor, window: int) -> Curve:
    """The curve of clips (N, F, C, H, W) against real clips (M, F', C, H, W); what is left after whole windows is
    dropped. Real clips give the frames to compare with, and the median motion and ink."""
    still = STILL * motion_energy(real).median()
    dark = EMPTY * ink(real).mean(dim=1).median()
    features = frame_features(thinned(real))
    parts = windows(clips, window).unbind(dim=1)
    return Curve(
        distance=torch.tensor([distance(frame_features(part), features) for part in parts]),
        frozen=torch.stack([(motion_energy(part) < still).double().mean() for part in parts]),
        empty=torch.stack([(ink(part).mean(dim=1) < dark).double().mean() for part in parts]),
    )


# --- metric ----------------------------------------------------------------------------------------------------------


class Drift(ModelMetric):
    """Rolls a streaming model out to five times the length it was trained on.

    `drift`: growth of the per-frame distance, worst window over first; `frozen`, `empty`: the largest shares of clips
    in any window; `frames_1_12`, `frames_13_24`, ...: the distance in that window. Models that are not sampled by a
    streaming sampler have no such curve and get no numbers.
    """

    Options = RolloutOptions
    samples = True
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "drift": "lower", "frozen": "lower", "empty": "lower",
    }  # fmt: skip

    def __init__(self, frames: int = 60, window: int = 12, clips: int = 128):
        self.frames, self.window, self.clips = frames, window, clips

    def __call__(
        self, model: Any, teacher: Any, reference: Data, *, sampler: Sampler | None = None, steps: int = 1
    ) -> dict[str, float]:
        if not streams(sampler):
            return {}
        curve = self.curve(model, reference, sampler, steps)
        named = {window_name(k, self.window): value for k, value in enumerate(curve.distance.tolist())}
        worst = {"frozen": curve.frozen.max().item(), "empty": curve.empty.max().item()}
        return {"drift": curve.growth, **worst, **named}

    def curve(self, model: Any, reference: Data, sampler: Any, steps: int) -> Curve:
        part = reference.split("held_out")
        cond = part.batch(torch.arange(min(self.clips, len(part)))).cond
        rows = self.clips if cond is None else len(cond)
        made = long_rollout(model, sampler, cond, frames=self.frames, steps=steps, rows=rows)
        return drift_curve(decoded(made, reference), self._training(reference), self.window)

    def real_curve(self, reference: Data) -> Curve | None:
        """The curve of held-out clips that go on for as long; None where the data has no longer ones."""
        longer = getattr(reference.split("held_out"), "longer", None)
        if longer is None:
            return None
        part = longer(self.frames)
        clips = part.batch(torch.arange(min(self.clips, len(part)))).x0
        return drift_curve(decoded(clips, reference), self._training(reference), self.window)

    def _training(self, reference: Data) -> Tensor:
        return evenly_spaced(reference.split("train"), 500)


def window_name(index: int, length: int) -> str:
    return f"frames_{index * length + 1}_{(index + 1) * length}"


__all__ = ["Curve", "Drift", "drift_curve", "motion_energy", "window_name"]
