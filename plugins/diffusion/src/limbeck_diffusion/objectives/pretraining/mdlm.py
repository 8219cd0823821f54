r"""Pretraining of masked diffusion models: the bound on -log p(x), Sahoo et al. 2024 (MDLM, SUBS parameterisation).

Letters: B batch, L sequence, V vocabulary.
"""

from typing import Any

from limbeck.interfaces import Batch, Generator, Loss, Phase, unwrap
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.divergences import token_loss
from limbeck_diffusion.formulas.masked import bound, corrupt, learned_tokens, masked_cross_entropy
from limbeck_diffusion.formulas.times import stratified_time
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.objectives.process_ops import masked_process
from limbeck_diffusion.options.pretraining import MDLMOptions


class MDLM(StudentObjective):
    """The negative evidence bound per token, in nats; with exact predictions it is -log p(x0) / L.

    Tokens outside `loss_mask` (a prompt) and outside `attention_mask` (padding) stay visible and do not count.
    Draws: t, eps.
    """

    Options = MDLMOptions
    options: MDLMOptions

    def setup(self, generator: Generator, teacher: Any = None, **named: Any) -> None:
        self.process = masked_process(unwrap(generator), "mdlm")
        self.add_role("generator", generator)

    def sampling(self) -> dict[str, Any]:
        return {"use": "ancestral", "steps": 32}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        o = self.options
        if batch.x0 is None:
            raise ValueError("mdlm learns from clean tokens, but the source yields none: use source data")
        x0, process = batch.x0, self.process
        t = stratified_time(rng, len(x0), o.times.range, stratified=o.times.antithetic).to(x0.device)
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


__all__ = ["MDLM"]
