"""Token by token: the student's next-token distribution against the teacher's, at every valid position of a batch.

One objective serves Hinton's distillation, forward and reverse KL, the generalized JSD, on-policy distillation (GKD)
and training on the teacher's texts: they are rows of the manifest with other defaults of its options. Letters: B batch,
L sequence, V vocabulary, H' the teacher's hidden width.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Generator, Loss, Phase, Teacher, unwrap
from limbeck.manifest import Needs
from limbeck.randomness import Rng
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_text.losses.divergences import token_divergence
from limbeck_text.losses.head import Head
from limbeck_text.losses.next_token import next_token_mask
from limbeck_text.losses.vocabulary_loss import vocabulary_loss
from limbeck_text.models.same_tokenizer import check_same_tokenizer
from limbeck_text.options.objectives import TokenDivergenceOptions

SOURCES = {"data": "data", "student": "on_policy", "teacher": "teacher_text"}


class TokenDivergence(StudentObjective):
    """mean over valid tokens of  weight T^2 D(p, q; T) + ce_weight CE(token), p the teacher's and q the student's
    distribution of the next token at temperature T.

    The T^2 keeps the gradient's size when the temperature changes (Hinton et al. 2015). A term without weight is not
    computed: without a divergence the teacher is not called. No gradient flows into the teacher, nor through the choice
    of the tokens. Nothing random is drawn here; the draws are the source's.
    """

    needs = Needs(generator={"log_probs"}, data={"samples"})
    Options = TokenDivergenceOptions
    options: TokenDivergenceOptions

    @property
    def default_source(self) -> str:  # type: ignore[override]
        return SOURCES[self.options.texts]

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        chosen = self.options.divergence
        self.teacher = teacher
        self.divergence = token_divergence(chosen.kind, **chosen.parameters()) if chosen.weight else None
        if self.divergence is not None:
            if teacher is None:
                raise ValueError(
                    f"the divergence {chosen.kind} compares with a teacher, and was given none: add a `teacher:` block"
                )
            check_same_tokenizer(teacher, unwrap(generator))
        self.add_role("generator", generator)

    def sampling(self) -> dict[str, Any]:
        return {"use": "autoregressive", "steps": 64}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        tokens, valid, empty = self._valid(batch, alone=rng.parts == 1)
        p_hidden, p_head = self._teacher_states(tokens, batch.attention_mask)
        weight: Tensor | None = None
        reduction: Literal["mean", "sum"] = "mean"
        if batch.weight is not None:  # a row's weight is shared equally by its tokens
            valid = torch.ones_like(tokens[:, 1:], dtype=torch.bool) if valid is None else valid
            weight = (batch.weight / valid.sum(1).clamp_min(1)).unsqueeze(1).expand_as(valid)
            reduction = "sum"

        o = self.options

        def compare(hidden: Tensor, head: Head) -> Any:
            return vocabulary_loss(
                hidden[:, :-1], head, divergence=self.divergence, teacher_hidden=p_hidden, teacher_head=p_head,
                labels=tokens[:, 1:] if o.ce_weight else None, temperature=o.divergence.temperature,
                soft_weight=o.divergence.weight * o.divergence.temperature**2, hard_weight=o.ce_weight, mask=valid,
                weight=weight, reduction=reduction, chunk=o.chunk,
            )  # fmt: skip

        found = self.network("generator", phase)(tokens, batch.attention_mask, then=compare)
        if p_hidden is not None and p_head is not None and not bool(found.soft.isfinite().all()):
            self._check_teacher(p_hidden, p_head, valid)
        terms = {}
        for name, values in (("divergence", found.soft), ("cross_entropy", found.hard)):
            if values is not None:
                terms[name] = (values.sum() / found.count.clamp_min(1)) if weight is None else (values * weight).sum()
        terms["empty_rows"] = empty if batch.weight is None else empty * batch.weight.sum()
        return Loss(found.value, terms, None if batch.weight is not None else found.count)

    def _valid(self, batch: Batch, alone: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        """Tokens, where they are learned, and the share of rows without any (their completion is empty)."""
        if batch.x0 is None or batch.x0.is_floating_point() or batch.x0.ndim != 2:
            given = "nothing" if batch.x0 is None else f"{batch.x0.dtype} of shape {tuple(batch.x0.shape)}"
            raise ValueError(
                f"a token divergence learns from token ids (B, L), int64; the source yields {given}. Use data of text"
            )
        if batch.x0.shape[1] < 2:
            raise ValueError(
                f"the loss is of next tokens, and sequences of {batch.x0.shape[1]} have none. Use longer ones"
            )
        if batch.attention_mask is None and batch.loss_mask is None:
            return batch.x0, None, torch.zeros((), device=batch.x0.device)
        valid = next_token_mask(batch)
        empty = (~valid.any(1)).float().mean()
        if alone and bool(empty == 1):  # one part of several may be empty: the engine averages over all tokens
            raise LimbeckError(
                f"none of the {len(valid)} sequences of this batch has a token to learn: every completion is empty (or "
                "padding). Check the prompts, the loss mask of the data, and the length of completions"
            )
        return batch.x0, valid, empty

    @torch.no_grad()
    def _teacher_states(self, tokens: Tensor, attention_mask: Tensor | None) -> tuple[Tensor | None, Head | None]:
        """The teacher's hidden states of all positions but the last, (B, L - 1, H'), and its head."""
        if self.divergence is None:
            return None, None
        assert self.teacher is not None
        return self.teacher(tokens, attention_mask, then=lambda hidden, head: (hidden[:, :-1], head))

    @torch.no_grad()
    def _check_teacher(self, hidden: Tensor, head: Head, valid: Tensor | None) -> None:
        """Raise when the teacher's logits are not finite; the engine checks the student's loss."""
        chosen = hidden.reshape(-1, hidden.shape[-1]) if valid is None else hidden[valid]
        bad = sum(int((~head.logits(rows).max(-1).values.isfinite()).sum()) for rows in chosen.split(256))
        if bad:
            assert self.teacher is not None
            raise LimbeckError(
                f"the teacher ({type(unwrap(self.teacher)).__name__}) returned logits that are not finite for {bad:,} "
                f"of {len(chosen):,} tokens. Check its weights; if they are float16, load them as bfloat16 or float32"
            )


__all__ = ["TokenDivergence"]
