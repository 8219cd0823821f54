"""Whether the wanted word was spoken, by the bundled classifier."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.options.data import DIGITS


class DigitAccuracy(Metric):
    """`digit_accuracy`: share of samples that the bundled classifier hears as the digit they were made for.

    nan, with a warning, where the data's words are no digits."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"digit_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        words = getattr(reference, "words", None)
        if cond is None or words is None or tuple(words) != DIGITS:
            other = "have no condition" if cond is None else f"are of {', '.join(words or ('something else',))}"
            warnings.warn(  # no error: it would come after hours of training
                f"digit_accuracy is nan: it knows {DIGITS[0]} to {DIGITS[-1]}, in that order; these samples {other}. "
                "Leave it out of evaluate.metrics, or use data: {use: audio/spoken_digits}",
                stacklevel=2,
            )
            return {"digit_accuracy": math.nan}
        return {"digit_accuracy": (describe(samples)[1] == cond.cpu()).double().mean().item()}
