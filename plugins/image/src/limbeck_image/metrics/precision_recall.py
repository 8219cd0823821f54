"""Improved precision and recall in the features of the bundled classifier; formulas are pure functions.

Letters: N, M sample counts, D features.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_image.features.convnet import describe
from limbeck_image.metrics.reference import reference_of
from limbeck_image.options.measures import PrecisionRecallOptions


def radii(points: Tensor, k: int) -> Tensor:
    """Distance of every point (N, D) to its k-th nearest other point, (N,)."""
    return torch.cdist(points, points).kthvalue(k + 1, dim=1).values


def covered(queries: Tensor, points: Tensor, k: int) -> float:
    """Share of queries (N, D) that lie in the k-nearest-neighbour ball of some point (M, D): Kynkaanniemi et al. 2019,
    Eq. 1 and 2. Precision is covered(samples, real), recall is covered(real, samples)."""
    return (torch.cdist(queries, points) <= radii(points, k)).any(dim=1).double().mean().item()


def precision_recall(samples: Tensor, real: Tensor, k: int) -> tuple[float, float]:
    """Precision and recall at equal counts. samples (N, D), real (M, D).

    A ball of the k nearest neighbours shrinks as points are added, so unequal counts are not comparable: with more
    samples than real points the samples are cut into blocks of M and the scores averaged; with fewer, the first N of
    the real points (in a fixed shuffled order) are used.
    """
    if len(samples) <= k or len(real) <= k:
        raise ValueError(f"precision and recall with k={k} need more than {k} samples; got {len(samples)}, {len(real)}")
    if len(samples) < len(real):
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
        real = real[order[: len(samples)]]
    blocks = samples[: len(samples) // len(real) * len(real)].split(len(real))
    scores = torch.tensor([(covered(block, real, k), covered(real, block, k)) for block in blocks], dtype=torch.float64)
    precision, recall = scores.mean(dim=0).tolist()
    return precision, recall


class PrecisionRecall(Metric):
    """`precision`: samples that lie among the scans; `recall`: scans that lie among the samples. See
    `precision_recall`."""

    Options = PrecisionRecallOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"precision": "higher", "recall": "higher"}

    def __init__(self, k: int = 3):
        self.k = k

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        precision, recall = precision_recall(describe(samples)[0], reference_of(reference, "train")[1], self.k)
        return {"precision": precision, "recall": recall}
