"""Distances to the nearest training image: memorising shows.

Letters: N, M sample counts, D features or pixels.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_image.features.convnet import describe
from limbeck_image.metrics.reference import reference_of
from limbeck_image.options.measures import NearestNeighbourOptions


def nearest(queries: Tensor, points: Tensor, chunk: int = 2000) -> Tensor:
    """Euclidean distance of every query (N, D) to its nearest point (M, D), (N,)."""
    return torch.cat([torch.cdist(rows, points).min(dim=1).values for rows in queries.split(chunk)])


class NearestNeighbour(Metric):
    """Does the generator copy? Distances to the nearest training scan, measured against those of the held-out scans.

    `nearest_ratio`: median distance of samples over median distance of held-out scans: about 1 for honest samples, 0
    for a copy machine. `copied`: share of samples nearer to a training scan than all but 1 % of the held-out scans are:
    about 0.01 for honest samples, 1 for a copy machine.
    """

    Options = NearestNeighbourOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"nearest_ratio": "higher", "copied": "lower"}

    def __init__(self, space: Literal["pixels", "features"] = "pixels"):
        self.space = space

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        which = 0 if self.space == "pixels" else 1
        train, fresh = (reference_of(reference, split)[which].flatten(1) for split in ("train", "held_out"))
        ours = samples.detach().float().cpu().flatten(1) if self.space == "pixels" else describe(samples)[0]
        mine, honest = nearest(ours, train), nearest(fresh, train)
        return {
            "nearest_ratio": (mine.median() / honest.median()).item(),
            "copied": (mine < honest.quantile(0.01)).double().mean().item(),
        }
