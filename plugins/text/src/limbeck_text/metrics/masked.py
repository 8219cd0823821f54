"""Metrics of sampled tokens (N, L), and of masked diffusion models. Formulas are pure functions.

Letters: N samples, L sequence, B batch.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Data, Metric, ModelMetric, Teacher, unwrap
from limbeck.process.categorical import MaskedProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.masked import bound, masked_cross_entropy
from limbeck_text.options.text import DistinctOptions, NLLBoundOptions

# --- formulas --------------------------------------------------------------------------------------------------------


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


def likelihood_bound(model: Any, x0: Tensor, rng: Rng, *, cond: Any = None, draws: int = 1) -> Tensor:
    """Estimate of the bound on -log p(x0), nats per sequence, (B,), from `draws` corruptions of each row.

    The times of a row are spread evenly over (0, 1], so that no part of the integral is missed; the estimate is
    unbiased. Draws: t, eps/k.
    """
    process: MaskedProcess = unwrap(model).process
    rows = len(x0)
    u = rng.uniform("t", (rows,), torch.float64).to(x0.device)
    total = torch.zeros(rows, dtype=torch.float64, device=x0.device)
    for k in range(draws):
        t = 1 - (k + u) / draws  # (B,), in (0, 1]
        xt = process.add_noise(x0, process.noise(tuple(x0.shape), rng, f"eps/{k}").to(x0.device), t)
        errors = masked_cross_entropy(model(xt, t, cond).logits, x0, xt.eq(process.mask_id))
        total += bound(process, errors.double(), t) / draws
    return total


# --- metrics ---------------------------------------------------------------------------------------------------------


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


class NLLBound(ModelMetric):
    """`nll_bound`: the bound on -log p of held-out windows, nats per token, with draws that do not depend on the
    model."""

    Options = NLLBoundOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"nll_bound": "lower"}

    def __init__(self, **options: Any):
        self.options = NLLBoundOptions(**options)

    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        o = self.options
        spec: Any = unwrap(model)
        if not isinstance(getattr(spec, "process", None), MaskedProcess):
            raise TypeError(
                f"nll_bound judges masked diffusion models; {type(spec).__name__} lives on "
                f"{getattr(spec, 'process', None)}. For language models use metric nll"
            )
        device = next(spec.parameters()).device
        held_out = reference.split("held_out")
        # windows from all of the split, not its first documents only
        rows = torch.linspace(0, len(held_out) - 1, min(o.windows, len(held_out))).long()
        total = count = 0.0
        for index, chosen in enumerate(rows.split(o.batch_size)):
            batch = held_out.batch(chosen).to(device)
            assert batch.x0 is not None
            rng = Rng(0, step=index, phase="nll_bound", device=device)
            with torch.no_grad():
                total += float(likelihood_bound(spec, batch.x0, rng, cond=batch.cond, draws=o.draws).sum())
            count += batch.x0.numel()
        return {"nll_bound": total / count}
