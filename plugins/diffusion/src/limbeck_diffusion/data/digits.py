"""Scikit-learn's 8x8 handwritten digits (UCI Optical Recognition of Handwritten Digits, CC BY 4.0).

Images show them, clips move them: whoever is held out in one modality is held out in all. Needs scikit-learn, which the
distributions that use this loader depend on.
"""

from functools import lru_cache

import torch
from torch import Tensor

LICENCE = "UCI Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), CC BY 4.0, by way of scikit-learn"
CLASSES = 10
SIDE = 8  # pixels
INK = 16  # the darkest of 17 levels
HELD_OUT = 360  # of 1,797 scans, stratified by label
SPLIT_SEED = 0


@lru_cache(maxsize=1)
def scans() -> dict[str, tuple[Tensor, Tensor]]:
    """{"train": (ink, labels), "held_out": ...}: ink (N, 8, 8) float32, whole numbers from 0 to 16; labels (N,) int64.

    1,437 scans are for training, 360 are held out.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    ink = torch.from_numpy(pixels).float().reshape(-1, SIDE, SIDE)
    classes = torch.from_numpy(labels).long()
    train, held_out = train_test_split(
        range(len(classes)), test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED
    )
    return {name: (ink[rows], classes[rows]) for name, rows in (("train", train), ("held_out", held_out))}


__all__ = ["CLASSES", "HELD_OUT", "INK", "LICENCE", "SIDE", "SPLIT_SEED", "scans"]
