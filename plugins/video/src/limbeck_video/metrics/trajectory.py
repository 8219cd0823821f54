"""Do the digits of a clip move as bouncing bodies do?"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_video.features.clip_encoder import WINDOW, windows
from limbeck_video.features.frame_detector import detect
from limbeck_video.metrics.clips import digit_clips
from limbeck_video.options.measures import TrajectoryOptions
from limbeck_video.physics import tracks


class TrajectoryError(Metric):
    """`trajectory_error`: mean distance, in pixels, of the digits from the best paths of constant velocity between the
    walls, over windows of 12 frames. What real clips show is the error of detection."""

    Options = TrajectoryOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"trajectory_error": "lower"}

    def __init__(self, clips: int = 250):
        self.clips = clips

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        places = detect(digit_clips(samples, reference, "trajectory_error")).corners[: self.clips]
        if places.shape[1] > WINDOW:
            places = windows(places).flatten(0, 1)
        return {"trajectory_error": torch.cat([tracks.distances(part) for part in places.split(50)]).mean().item()}


__all__ = ["TrajectoryError"]
