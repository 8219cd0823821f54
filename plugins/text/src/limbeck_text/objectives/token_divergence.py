"""Token by token: the student's next-token law against the teacher's, at every valid position of a batch.

One objective serves Hinton's distillation, forward and reverse KL, the generalized JSD, on-policy distillation (GKD)
and training on the teacher's texts; they differ in the divergence, in how much cross-entropy goes with it, and in the
source their tokens come from. Letters: B batch, L sequence, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Teacher, unwrap
from limbeck.manifest import Needs
from limbeck.randomness import Rng
from limbeck_text.losses.divergences import Divergence, forward_kl, generalized_jsd, reverse_kl
from limbeck_text.losses.head import Head
from limbeck_text.losses.next_token import next_token_mask
from limbeck_text.losses.vocabulary_loss import vocabulary_loss
from limbeck_text.models.same_tokenizer import check_same_tokenizer
from limbeck_text.options.objectives import (
    ForwardKLOptions,
    GKDOptions,
    HintonOptions,
    JSDOptions,
    ReverseKLOptions,
    SequenceKDOptions,
)


class TokenDivergence(Objective):
    """mean over valid tokens of  soft_weight T^2 D(p, q; T) + ce_weight CE(token); presets below fill in D and weights.

    The T^2 keeps the gradient's size when the temperature changes (Hinton et al. 2015). Nothing random is drawn here.
    """

    needs = Needs(generator={"log_probs"}, teacher={"log_probs"})
    options: Any

    def divergence(self) -> Divergence | None:
        raise NotImplementedError

    def weights(self) -> tuple[float, float]:
        """Of the divergence (times T^2) and of the cross-entropy."""
        return 1.0, self.options.ce_weight

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        self._divergence = self.divergence()
        self.temperature: float = getattr(self.options, "temperature", 1.0)
        soft, self.hard_weight = self.weights()
        self.soft_weight = soft * self.temperature**2
        self.teacher = teacher
        if self._divergence is not None:
            if teacher is None:
                raise ValueError(
                    f"{type(self).__name__} compares with a teacher, and was given none: add a `teacher:` block"
                )
            check_same_tokenizer(teacher, unwrap(generator))
        self.add_role("generator", generator)

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def sampling(self) -> dict[str, Any]:
        return {"use": "autoregressive", "steps": 64}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        tokens, valid, empty = self._valid(batch, alone=rng.parts == 1)
        p_hidden, p_head = self._teacher_states(tokens, batch.attention_mask)
        weight, whole = None, "mean"
        if batch.weight is not None:  # rows weigh what they are said to, and inside a row every token the same
            valid = torch.ones_like(tokens[:, 1:], dtype=torch.bool) if valid is None else valid
            weight = (batch.weight / valid.sum(1).clamp_min(1)).unsqueeze(1).expand_as(valid)
            whole = "sum"

        def compare(hidden: Tensor, head: Head) -> Any:
            return vocabulary_loss(
                hidden[:, :-1], head, divergence=self._divergence, teacher_hidden=p_hidden, teacher_head=p_head,
                labels=tokens[:, 1:] if self.hard_weight else None, temperature=self.temperature,
                soft_weight=self.soft_weight, hard_weight=self.hard_weight, mask=valid, weight=weight, reduction=whole,
                chunk=self.options.chunk,
            )  # fmt: skip

        found = self.network("generator", phase)(tokens, batch.attention_mask, then=compare)
        if found.soft is not None and not bool(found.soft.isfinite().all()):
            self._blame_teacher(p_hidden, p_head, valid)
        terms = {}
        for name, values in (("divergence", found.soft), ("cross_entropy", found.hard)):
            if values is not None:
                terms[name] = (values.sum() / found.count.clamp_min(1)) if weight is None else (values * weight).sum()
        terms["empty_rows"] = empty if batch.weight is None else empty * batch.weight.sum()
        return Loss(found.value, terms, None if batch.weight is not None else found.count)

    def _valid(self, batch: Batch, alone: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        """Tokens, where they are learned, and the share of rows without any (their completion is empty)."""
        name = type(self).__name__
        if batch.x0 is None or batch.x0.is_floating_point() or batch.x0.ndim != 2:
            given = "nothing" if batch.x0 is None else f"{batch.x0.dtype} of shape {tuple(batch.x0.shape)}"
            raise ValueError(f"{name} learns from token ids (B, L), int64; the source yields {given}. Use data of text")
        if batch.x0.shape[1] < 2:
            raise ValueError(
                f"{name} predicts next tokens: sequences of {batch.x0.shape[1]} have none. Use longer ones"
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
        if self._divergence is None:
            return None, None
        assert self.teacher is not None
        return self.teacher(tokens, attention_mask, then=lambda hidden, head: (hidden[:, :-1], head))

    @torch.no_grad()
    def _blame_teacher(self, hidden: Tensor, head: Head, valid: Tensor | None) -> None:
        """Raise when it is the teacher whose logits are not finite; the student's are the engine's business."""
        chosen = hidden.reshape(-1, hidden.shape[-1]) if valid is None else hidden[valid]
        bad = sum(int((~head.logits(rows).max(-1).values.isfinite()).sum()) for rows in chosen.split(256))
        if bad:
            raise LimbeckError(
                f"the teacher ({type(unwrap(self.teacher)).__name__}) gave logits that are not finite for {bad:,} of "
                f"{len(chosen):,} tokens. Check its weights; if they are float16, load them as bfloat16 or float32"
            )


# --- presets ---------------------------------------------------------------------------------------------------------


class Hinton(TokenDivergence):
    """(1 - w) CE + w T^2 KL(p_T || q_T), Hinton et al. 2015."""

    Options = HintonOptions
    options: HintonOptions

    def divergence(self) -> Divergence:
        return forward_kl

    def weights(self) -> tuple[float, float]:
        return self.options.weight, 1 - self.options.weight


class ForwardKL(TokenDivergence):
    """KL(p || q) per token: the student covers what the teacher may say."""

    Options = ForwardKLOptions

    def divergence(self) -> Divergence:
        return forward_kl


class ReverseKL(TokenDivergence):
    """KL(q || p) per token: the student keeps to what the teacher would say."""

    Options = ReverseKLOptions

    def divergence(self) -> Divergence:
        return reverse_kl


class JSD(TokenDivergence):
    """beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q."""

    Options = JSDOptions
    options: JSDOptions | GKDOptions

    def divergence(self) -> Divergence:
        beta = self.options.beta
        return lambda teacher, student: generalized_jsd(teacher, student, beta)


class GKD(JSD):
    """The generalized JSD on texts that, with chance `student_fraction`, the student wrote; Agarwal et al. 2024.

    Their Algorithm 1. No gradient flows through the sampling. The draws are the `on_policy` source's.
    """

    needs = Needs(generator={"log_probs", "generates"}, teacher={"log_probs"}, data={"samples"})
    default_source = "on_policy"
    Options = GKDOptions
    options: GKDOptions


class SequenceKD(TokenDivergence):
    """Cross-entropy on texts that the teacher wrote, Kim & Rush 2016. The draws are the `teacher_text` source's."""

    needs = Needs(generator={"log_probs"}, teacher={"generates"}, data={"samples"})
    default_source = "teacher_text"
    Options = SequenceKDOptions
    options: SequenceKDOptions

    def divergence(self) -> None:
        return None

    def weights(self) -> tuple[float, float]:
        return 0.0, 1.0


__all__ = [
    "GKD",
    "JSD",
    "ForwardKL",
    "Hinton",
    "ReverseKL",
    "SequenceKD",
    "TokenDivergence",
]
