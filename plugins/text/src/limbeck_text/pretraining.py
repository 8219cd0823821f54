"""Pretraining of language models: cross entropy of the next token, on real text."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Teacher
from limbeck.manifest import Needs
from limbeck.randomness import Rng
from limbeck_text.head import Head
from limbeck_text.options import LanguageModellingOptions


def next_token_mask(batch: Batch) -> Tensor:
    """(B, L - 1), true where the token at l + 1 is real and to be learned; position l predicts it."""
    assert batch.x0 is not None
    valid = torch.ones_like(batch.x0[:, 1:], dtype=torch.bool)
    if batch.attention_mask is not None:
        valid = valid & batch.attention_mask[:, 1:].bool() & batch.attention_mask[:, :-1].bool()
    if batch.loss_mask is not None:
        valid = valid & batch.loss_mask[:, 1:].bool()
    return valid


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(logits)[target] per token, (N,), in float32: logits (N, V), targets (N,)."""
    return F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=label_smoothing)


class LanguageModelling(Objective):
    """E[-log p(x_{l+1} | x_1 .. x_l)], the mean over the valid tokens of the global batch. Needs no teacher."""

    needs = Needs(generator={"log_probs"}, data={"samples"})
    Options = LanguageModellingOptions
    options: LanguageModellingOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        self.add_role("generator", generator)

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def sampling(self) -> dict[str, Any]:
        return {"use": "text/autoregressive", "steps": 64}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        if batch.x0 is None or batch.x0.shape[1] < 2:
            shape = None if batch.x0 is None else tuple(batch.x0.shape)
            raise ValueError(
                f"language_modelling learns from sequences of two tokens or more; the source yields x0 {shape}"
            )
        valid = next_token_mask(batch)
        count = valid.sum()
        targets = batch.x0[:, 1:][valid]  # (N,)
        if len(targets) == 0:
            raise ValueError(
                "no token of the batch is to be learned: prompts fill the windows, or completions are empty. "
                "Use a shorter data.prompt, or leave out empty completions"
            )

        def then(hidden: Tensor, head: Head) -> Tensor:
            nll = cross_entropy(head.logits(hidden[:, :-1][valid]), targets, self.options.label_smoothing)
            return nll.mean()

        loss = self.network("generator", phase)(batch.x0, batch.attention_mask, then=then)
        return Loss(loss, {"nll": loss.detach()}, count)
