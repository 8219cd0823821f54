r"""Pretraining of masked diffusion models: the bound on -log p(x), Sahoo et al. 2024 (MDLM, SUBS parameterisation).

Letters: B batch, L sequence, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, unwrap
from limbeck.manifest import Needs
from limbeck.process.categorical import CategoricalProcess, MaskedProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.divergences import log_probabilities, token_loss
from limbeck_diffusion.formulas.times import stratified_time
from limbeck_diffusion.options.tokens import MDLMOptions


def masked_process(spec: Any, objective: str) -> MaskedProcess:
    """The process of a model, which must be a masked one for objectives that speak of masked tokens."""
    process = getattr(spec, "process", None)
    if not isinstance(process, MaskedProcess):
        raise ValueError(
            f"{objective} learns masked tokens, but {type(spec).__name__} lives on {process}. Use a generator on a "
            "limbeck.MaskedProcess; objectives for uniform corruption: consistency"
        )
    return process


def learned_tokens(batch: Batch) -> Tensor | None:
    """True where a token is real and to be learned, (B, L); None: everywhere."""
    if batch.loss_mask is None or batch.attention_mask is None:
        mask = batch.loss_mask if batch.attention_mask is None else batch.attention_mask
        return None if mask is None else mask.bool()
    return batch.loss_mask.bool() & batch.attention_mask.bool()


def corrupt(process: CategoricalProcess, batch: Batch, u: Tensor, t: Tensor) -> Tensor:
    """x_t of a batch, (B, L), by uniform u (B, L): tokens that are not to be learned (a prompt) stay as they are."""
    assert batch.x0 is not None
    xt = process.add_noise(batch.x0, u, t)
    learned = learned_tokens(batch)
    return xt if learned is None else xt.where(learned, batch.x0)


def masked_cross_entropy(logits: Tensor, x0: Tensor, hidden: Tensor) -> Tensor:
    """-log p(x0_i) at hidden positions, 0 elsewhere: logits (B, L, V), x0 and hidden (B, L); returns (B, L)."""
    found = F.nll_loss(log_probabilities(logits[hidden]), x0[hidden], reduction="none")
    return found.new_zeros(x0.shape).masked_scatter(hidden, found)


def bound(process: MaskedProcess, cross_entropy: Tensor, t: Tensor) -> Tensor:
    """The integrand of the negative evidence bound at t, (B,): -d_alpha_t / (1 - alpha_t) times the cross entropy of
    the masked tokens, (B, L); Sahoo et al. 2024. Its mean over t uniform on [0, 1] bounds -log p(x0)."""
    return process.nelbo_weight(t).to(cross_entropy.dtype) * cross_entropy.sum(1)


class MDLM(Objective):
    """The negative evidence bound per token, in nats; with exact predictions it is -log p(x0) / L.

    Tokens outside `loss_mask` (a prompt) and outside `attention_mask` (padding) stay visible and do not count.
    Draws: t, eps.
    """

    Options = MDLMOptions
    options: MDLMOptions
    needs = Needs(generator={"categorical", "denoiser"}, data={"samples"})

    def setup(self, generator: Generator, teacher: Any = None, **named: Any) -> None:
        self.process = masked_process(unwrap(generator), "mdlm")
        self.add_role("generator", generator)

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def sampling(self) -> dict[str, Any]:
        return {"use": "ancestral", "steps": 32}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        o = self.options
        if batch.x0 is None:
            raise ValueError("mdlm learns from clean tokens, but the source yields none: use source data")
        x0, process = batch.x0, self.process
        t = stratified_time(rng, len(x0), o.t_range, stratified=o.antithetic).to(x0.device)
        xt = corrupt(process, batch, process.noise(tuple(x0.shape), rng).to(x0.device), t)
        hidden = xt.eq(process.mask_id)
        logits = self.network("generator", phase)(xt, t, batch.cond).logits
        cross_entropy = masked_cross_entropy(logits, x0, hidden)
        learned = learned_tokens(batch)
        tokens = x0.new_full((len(x0),), x0.shape[1]) if learned is None else learned.sum(1)  # (B,)
        per_sequence = bound(process, cross_entropy, t)
        surprise = cross_entropy.detach().sum() / hidden.sum().clamp_min(1)
        loss = token_loss(per_sequence, tokens, batch.weight)
        return Loss(loss.value, {"masked_cross_entropy": surprise}, loss.count)
