"""Distances between spectrograms in decibels. Letters: N, P sample counts, M mels, F frames."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_audio.metrics.reference import clips_of
from limbeck_audio.signal.mel import DB_PER_UNIT


def log_spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over frames of the root mean square difference over mels, in dB. a, b (N, 1, M, F) log-mels -> (N,).

    Gray & Markel 1976, on mel bands instead of frequency bins.
    """
    difference = DB_PER_UNIT * (a - b)[:, 0]  # (N, M, F)
    return difference.square().mean(dim=1).sqrt().mean(dim=1)


def nearest_in_decibels(queries: Tensor, pool: Tensor) -> Tensor:
    """Log-spectral distance of every query (N, 1, M, F) to the nearest of the pool (P, 1, M, F), (N,)."""
    a, b = (mels[:, 0].permute(2, 0, 1) for mels in (queries, pool))  # (F, N, M), (F, P, M)
    closest = torch.zeros(len(queries), len(pool))
    for one, other in zip(a, b, strict=True):
        closest += torch.cdist(one, other)
    # by way of matrix products: good enough to choose, not to measure a copy with
    return log_spectral_distance(queries, pool[closest.argmin(dim=1)])


class LogSpectralDistance(Metric):
    """How far the nearest real clip of the same word is, in dB; the mean over samples.

    `log_spectral_distance`: among the training clips; `log_spectral_distance_held_out`: among the held-out ones. Copies
    have 0 in the first; fresh recordings of other voices what the row of real data shows. Without labels the nearest
    clip of all counts.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "log_spectral_distance": "lower",
        "log_spectral_distance_held_out": "lower",
    }

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        ours = samples.detach().float().cpu()
        found = {}
        for name, split in zip(self.better, ("train", "held_out"), strict=True):
            pool, labels = clips_of(reference, split)  # type: ignore[arg-type]
            if cond is None or labels is None:
                found[name] = nearest_in_decibels(ours, pool).mean().item()
                continue
            wanted = cond.cpu()
            each = [nearest_in_decibels(ours[wanted == k], pool[labels == k]) for k in wanted.unique()]
            found[name] = torch.cat(each).mean().item()
        return found


__all__ = ["LogSpectralDistance", "log_spectral_distance", "nearest_in_decibels"]
