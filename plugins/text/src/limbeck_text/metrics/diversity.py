"""How varied sampled tokens (N, L) are. Letters: N samples, L sequence."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Data, Metric
from limbeck_text.options.measures import DistinctOptions


def histogram_entropy(tokens: Tensor) -> Tensor:
    """Entropy in nats of the histogram of token ids within every sample: -sum_v c_v / L log(c_v / L), c_v how often v
    occurs in the sample; (N, L) -> (N,), float64. At most log L, reached when no token repeats."""
    length = tokens.shape[1]
    # (N, L): how often the token at each position occurs; the mean over positions meets v c_v times
    often = torch.cat([rows.unsqueeze(2).eq(rows.unsqueeze(1)).sum(2) for rows in tokens.split(64)])
    return -(often.double() / length).log().mean(1)


def distinct(tokens: Tensor, n: int) -> float:
    """Distinct n-grams over all n-grams of all samples, (N, L), in (0, 1]; Li et al. 2016. Depends on N: compare equal
    counts only."""
    if tokens.shape[1] < n:
        raise ValueError(f"samples of {tokens.shape[1]} tokens have no {n}-grams")
    grams = tokens.unfold(1, n, 1).reshape(-1, n)
    return len(torch.unique(grams, dim=0)) / len(grams)


class TokenEntropy(Metric):
    """`token_entropy`: mean over samples of the entropy of a sample's own token histogram, nats: the measure of
    Deschenaux & Gulcehre 2024 (SDTT) and Sahoo et al. 2024 that goes with generative NLL, because a model that repeats
    itself is likely to a judge and low here."""

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"token_entropy": "higher"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        return {"token_entropy": histogram_entropy(samples).mean().item()}


class DistinctN(Metric):
    """`distinct_1` ... `distinct_n`: distinct n-grams over all n-grams of the whole set of samples."""

    Options = DistinctOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {f"distinct_{n}": "higher" for n in (1, 2)}

    def __init__(self, **options: Any):
        self.options = DistinctOptions(**options)
        self.better = {f"distinct_{n}": "higher" for n in range(1, self.options.n + 1)}  # type: ignore[misc]

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        return {f"distinct_{n}": distinct(samples, n) for n in range(1, self.options.n + 1)}
