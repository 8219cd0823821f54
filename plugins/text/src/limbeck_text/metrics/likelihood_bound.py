"""The likelihood bound of masked diffusion models. Letters: B batch, L sequence."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Data, ModelMetric, Teacher, unwrap
from limbeck.process.categorical import MaskedProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.masked import bound, masked_cross_entropy
from limbeck_text.options.measures import NLLBoundOptions


def likelihood_bound(model: Any, x0: Tensor, rng: Rng, *, cond: Any = None, draws: int = 1) -> Tensor:
    """Estimate of the bound on -log p(x0), nats per sequence, (B,), from `draws` corruptions of each row.

    The times of a row are spread evenly over (0, 1], so that no part of the integral is missed; the estimate is
    unbiased. Draws: t, eps/k.
    """
    unwrapped: Any = unwrap(model)
    process: MaskedProcess = unwrapped.process
    rows = len(x0)
    u = rng.uniform("t", (rows,), torch.float64).to(x0.device)
    total = torch.zeros(rows, dtype=torch.float64, device=x0.device)
    for k in range(draws):
        t = 1 - (k + u) / draws  # (B,), in (0, 1]
        xt = process.add_noise(x0, process.noise(tuple(x0.shape), rng, f"eps/{k}").to(x0.device), t)
        errors = masked_cross_entropy(model(xt, t, cond).logits, x0, xt.eq(process.mask_id))
        total += bound(process, errors.double(), t) / draws
    return total


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
