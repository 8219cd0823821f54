"""Real data: scikit-learn's 8x8 handwritten digits (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)."""

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Data, Space
from limbeck_image.options.digits import DigitsDataOptions

SPACE = Space((1, 8, 8), domain="pixels")
LICENCE = "UCI Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), CC BY 4.0, by way of scikit-learn"
CLASSES = 10
HELD_OUT = 360  # of 1,797 scans, stratified by label
SPLIT_SEED = 0


@lru_cache(maxsize=1)
def scans() -> dict[str, tuple[Tensor, Tensor]]:
    """{"train": (images, labels), "held_out": ...}: images (N, 1, 8, 8) in [-1, 1] (17 grey levels), labels (N,)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().reshape(-1, *SPACE.event) / 8 - 1
    classes = torch.from_numpy(labels).long()
    train, held_out = train_test_split(
        range(len(classes)), test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED
    )
    return {name: (images[rows], classes[rows]) for name, rows in (("train", train), ("held_out", held_out))}


class Digits(Data):
    """The 1,437 scans of the training split (or the 360 held out); `cond` is the label, (B,) int64.

    Whoever names no split gets the training scans, so that nothing is ever trained on the held-out ones by mistake.
    """

    Options = DigitsDataOptions
    licence = LICENCE

    def __init__(self, split: Literal["train", "held_out"] = "train"):
        self.space, self.name = SPACE, split
        self.images, self.labels = scans()[split]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> Batch:
        return Batch(x0=self.images[indices.cpu()], cond=self.labels[indices.cpu()]).to(indices.device)

    def split(self, name: Literal["train", "held_out"]) -> "Digits":
        return Digits(name)
