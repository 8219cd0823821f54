"""Metrics on digits, in the features of the bundled classifier (see `classifier.py`); formulas are pure functions.

Letters: N, M sample counts, D features. Every distribution metric compares with the 1,437 training scans: the 360
held-out ones are too few to be a reference and serve as the floor (how far fresh real scans are from the training
scans).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Data, Metric
from limbeck_image.features.convnet import describe
from limbeck_image.options.digits import NearestNeighbourOptions, PrecisionRecallOptions

# --- formulas --------------------------------------------------------------------------------------------------------


def nearest(queries: Tensor, points: Tensor, chunk: int = 2000) -> Tensor:
    """Euclidean distance of every query (N, D) to its nearest point (M, D), (N,)."""
    return torch.cat([torch.cdist(rows, points).min(dim=1).values for rows in queries.split(chunk)])


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


# --- metrics ---------------------------------------------------------------------------------------------------------

_CACHE: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}


def _reference(data: Data, split: Literal["train", "held_out"]) -> tuple[Tensor, Tensor]:
    """Images (M, *event) and features (M, D) of a split; computed once per process for each kind of data."""
    key = (type(data).__qualname__, split)
    if key not in _CACHE:
        part = data.split(split)
        images = part.batch(torch.arange(len(part))).x0
        _CACHE[key] = (images, describe(images)[0])
    return _CACHE[key]


class Frechet(Metric):
    """`frechet`: against the training scans. `frechet_held_out`: against the held-out ones; its floor is higher because
    360 scans estimate a covariance badly."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"frechet": "lower", "frechet_held_out": "lower"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        ours = moments(describe(samples)[0])
        train, held_out = (moments(_reference(reference, split)[1]) for split in ("train", "held_out"))
        return {"frechet": frechet_distance(*ours, *train), "frechet_held_out": frechet_distance(*ours, *held_out)}


class PrecisionRecall(Metric):
    """`precision`: samples that lie among the scans; `recall`: scans that lie among the samples. See
    `precision_recall`."""

    Options = PrecisionRecallOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"precision": "higher", "recall": "higher"}

    def __init__(self, k: int = 3):
        self.k = k

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        precision, recall = precision_recall(describe(samples)[0], _reference(reference, "train")[1], self.k)
        return {"precision": precision, "recall": recall}


class ClassAccuracy(Metric):
    """`class_accuracy`: share of samples that the classifier reads as the label they were asked for."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"class_accuracy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        if cond is None:
            raise ValueError(
                "class_accuracy needs the labels the samples were made for; these samples have no condition"
            )
        return {"class_accuracy": (describe(samples)[1] == cond.cpu()).double().mean().item()}


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
        train, fresh = (_reference(reference, split)[which].flatten(1) for split in ("train", "held_out"))
        ours = samples.detach().float().cpu().flatten(1) if self.space == "pixels" else describe(samples)[0]
        mine, honest = nearest(ours, train), nearest(fresh, train)
        return {
            "nearest_ratio": (mine.median() / honest.median()).item(),
            "copied": (mine < honest.quantile(0.01)).double().mean().item(),
        }
