"""Real images and their features, which samples are compared with.

Distribution metrics compare with the 1,437 training scans: the 360 held-out ones are too few to be a reference and
serve as the floor (how far fresh real scans are from the training scans).
"""

from typing import Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data
from limbeck_image.features.convnet import describe

_READ: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}


def reference_of(data: Data, split: Literal["train", "held_out"]) -> tuple[Tensor, Tensor]:
    """Images (M, *event) and features (M, D) of a split; read once per process for each kind of data."""
    key = (type(data).__qualname__, split)
    if key not in _READ:
        part = data.split(split)
        images = part.batch(torch.arange(len(part))).x0
        assert images is not None
        _READ[key] = (images, describe(images)[0])
    return _READ[key]
