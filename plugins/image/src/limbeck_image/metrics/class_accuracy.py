"""Share of samples with the class that was wanted, by the bundled classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_image.features.convnet import describe


class ClassAccuracy(Metric):
    """`class_accuracy`: share of samples that the classifier assigns to the label they were made for."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"class_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        if cond is None:
            raise ValueError(
                "class_accuracy needs the labels the samples were made for; these samples have no condition"
            )
        return {"class_accuracy": (describe(samples)[1] == cond.cpu()).double().mean().item()}
