"""How much brightness jumps from frame to frame. Letters: N clips, F frames."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_video.metrics.clips import decoded


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


class Flicker(Metric):
    """`flicker`: how much brightness jumps from frame to frame, as a share of it. Bouncing digits conserve ink, so real
    clips show little."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"flicker": "lower"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        return {"flicker": flicker(decoded(samples, reference)).mean().item()}


__all__ = ["Flicker", "flicker", "ink"]
