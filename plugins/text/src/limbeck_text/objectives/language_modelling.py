"""Pretraining of language models: cross entropy of the next token, on real text."""

from typing import Any

from torch import Tensor

from limbeck.interfaces import Batch, Generator, Loss, Phase, Teacher
from limbeck.manifest import Needs
from limbeck.randomness import Rng
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_text.losses.head import Head
from limbeck_text.losses.next_token import next_token_mask
from limbeck_text.losses.vocabulary_loss import vocabulary_loss


class LanguageModelling(StudentObjective):
    """E[-log p(x_{l+1} | x_1 .. x_l)], the mean over the valid tokens of the global batch. Needs no teacher, draws
    nothing."""

    needs = Needs(generator={"log_probs"}, data={"samples"})

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        self.add_role("generator", generator)

    def sampling(self) -> dict[str, Any]:
        return {"use": "autoregressive", "steps": 64}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        tokens = batch.x0
        if tokens is None or tokens.ndim != 2 or tokens.is_floating_point() or tokens.shape[1] < 2:
            given = "nothing" if tokens is None else f"x0 {tuple(tokens.shape)} {tokens.dtype}"
            raise ValueError(
                "language_modelling learns from token ids (B, L), int64, two or more to a row; the source yields "
                f"{given}. Use data of text"
            )
        valid = next_token_mask(batch)
        if rng.parts == 1 and not bool(valid.any()):  # a part of a batch may be empty: the others have tokens
            raise ValueError(
                "no token of the batch is to be learned: prompts fill the windows, or completions are empty. "
                "Use a shorter data.prompt, or leave out empty completions"
            )

        def then(hidden: Tensor, head: Head) -> tuple[Tensor, Tensor]:
            found = vocabulary_loss(hidden[:, :-1], head, labels=tokens[:, 1:], mask=valid)
            return found.value, found.count

        value, count = self.network("generator", phase)(tokens, batch.attention_mask, then=then)
        return Loss(value, {"nll": value.detach()}, count)
