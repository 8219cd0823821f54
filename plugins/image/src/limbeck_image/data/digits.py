"""Real data: scikit-learn's 8x8 handwritten digits (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)."""

from functools import lru_cache
from typing import Literal

from torch import Tensor

from limbeck.interfaces import Batch, Data, Space
from limbeck_diffusion.data import digits
from limbeck_image.options.data import DigitsDataOptions

SPACE = Space((1, 8, 8), domain="pixels")


@lru_cache(maxsize=1)
def scans() -> dict[str, tuple[Tensor, Tensor]]:
    """{"train": (images, labels), "held_out": ...}: images (N, 1, 8, 8) in [-1, 1] (17 grey levels), labels (N,)."""
    return {name: (2 * ink[:, None] / digits.INK - 1, labels) for name, (ink, labels) in digits.scans().items()}


class Digits(Data):
    """The 1,437 scans of the training split (or the 360 held out); `cond` is the label, (B,) int64.

    Whoever names no split gets the training scans, so that nothing is ever trained on the held-out ones by mistake.
    """

    Options = DigitsDataOptions
    licence = digits.LICENCE

    def __init__(self, split: Literal["train", "held_out"] = "train"):
        self.space, self.name = SPACE, split
        self.images, self.labels = scans()[split]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Batch:
        return Batch(x0=self.images[indices.cpu()], cond=self.labels[indices.cpu()]).to(indices.device)

    def split(self, name: Literal["train", "held_out"]) -> "Digits":
        return Digits(name)
