"""The held-out split beside the models: what a perfect generator would score, and what it would look like."""

from typing import Any

import torch

from limbeck import conditions
from limbeck.interfaces import Data
from limbeck.sampling.samples import Samples, are_labels


def held_out(data: Data | None) -> Samples | None:
    """The held-out split as samples; None when there is none."""
    try:
        split = data.split("held_out") if data is not None else None
    except TypeError:
        return None
    if split is None or len(split) == 0:
        return None
    batch = split.batch(torch.arange(min(len(split), 10_000)))
    return Samples(batch.x0, batch.cond, split.space) if batch.x0 is not None else None


def evenly(real: Samples, count: int) -> Samples:
    """`count` of them, evenly spaced, or all there are: what a perfect generator of that many samples would score. (A
    Frechet distance of few samples is larger than that of many.)"""
    if count >= len(real.value):
        return real
    rows = torch.linspace(0, len(real.value) - 1, count).long()
    return Samples(real.value[rows], conditions.rows(real.cond, rows), real.space)


def without_itself(metrics: dict[str, float]) -> dict[str, float]:
    """Distances of the held-out split to itself are zero by construction, and no floor."""
    return {key: value for key, value in metrics.items() if not key.endswith("held_out")}


def alike(real: Samples, cond: Any, count: int) -> Samples:
    """`count` real samples, the k-th with the k-th condition as far as there are any left."""
    if not are_labels(real.cond) or not are_labels(cond):
        return Samples(real.value[:count], conditions.rows(real.cond, slice(count)), real.space)
    by_label = {int(label): torch.nonzero(real.cond == label).flatten().tolist() for label in cond.unique()}
    taken: dict[int, int] = {}
    rows = []
    for label in cond.tolist():
        if by_label[label]:
            rows.append(by_label[label][taken.get(label, 0) % len(by_label[label])])
            taken[label] = taken.get(label, 0) + 1
    return Samples(real.value[rows], real.cond[rows], real.space)
