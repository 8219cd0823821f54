"""Do clips show the digits that they were made for?"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_video.features.frame_detector import detected_labels
from limbeck_video.metrics.clips import digit_clips


class LabelAccuracy(Metric):
    """`label_accuracy`: share of clips in which both requested digits are detected, by all frames together."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"label_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        if not isinstance(cond, Tensor) or cond.ndim != 2 or cond.shape[1] != 2:
            given = tuple(cond.shape) if isinstance(cond, Tensor) else type(cond).__name__
            raise ValueError(
                f"label_accuracy needs the two labels that every clip was made for, (N, 2); got {given}. "
                "Leave it out of evaluate.metrics for other clips"
            )
        right = (
            detected_labels(digit_clips(samples, reference, "label_accuracy")) == cond.cpu().sort(dim=1).values
        ).all(dim=1)
        return {"label_accuracy": right.double().mean().item()}


__all__ = ["LabelAccuracy"]
