"""The loss over a vocabulary, fused with the matrix product that makes the logits, chunk by chunk.

Logits of a whole batch are never held. Each chunk of tokens makes the student's and the teacher's logits, their
divergence and (or) the cross-entropy with labels, and right away the gradients in hidden states, weight and bias:
the backward pass only scales them. No more than one chunk's logits exist at a time, whatever the batch.

Letters: N tokens, H hidden width, V vocabulary. Everything with one value per token has the leading shape of `hidden`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck_text.losses.chunks import Projection, chunk_size, slices
from limbeck_text.losses.divergences import Divergence, tempered_log_softmax
from limbeck_text.losses.head import Head


@dataclass(frozen=True)
class VocabularyLoss:
    """`value` () carries the gradient; `count` () is the number of valid tokens. `soft` and `hard` are the divergence
    and the cross-entropy of every token, unweighted and detached, 0 where there is none."""

    value: Tensor
    count: Tensor
    soft: Tensor | None = None
    hard: Tensor | None = None


def vocabulary_loss(
    hidden: Tensor,
    head: Head,
    *,
    divergence: Divergence | None = None,
    teacher_hidden: Tensor | None = None,
    teacher_head: Head | None = None,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    soft_weight: float = 1.0,
    hard_weight: float = 1.0,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    chunk: int | None = None,
) -> VocabularyLoss:
    """sum_i w_i (soft_weight D(p_i, q_i) + hard_weight CE(q_i, label_i)) over valid tokens, or that over their number.

    D compares softmax(teacher logits / T) and softmax(student logits / T); the cross-entropy is at T = 1. Logits are
    computed in the precision of `hidden` (autocast's, where it is on), everything after them in float32 or better.

    Args:
        hidden: the student's last hidden states, (..., H).
        divergence: see `limbeck_text.losses.divergences`; None for the cross-entropy alone.
        teacher_hidden, teacher_head: (..., H') and its head, with the same V. No gradient flows into either.
        labels: (...), int64, read where the mask is true; None for no cross-entropy.
        mask: (...), true where a token is valid; None: everywhere. Nothing is computed at other positions.
        weight: (...), factors w_i of single tokens. They do not change the count.
        chunk: tokens at a time; None: as many as fit the working memory (`chunk_size`).

    Returns:
        VocabularyLoss. Without a valid token its value is 0 with a graph: every gradient is 0.
    """
    _check(hidden, head, divergence, teacher_hidden, teacher_head, labels)
    leading = hidden.shape[:-1]
    flat = hidden.reshape(-1, hidden.shape[-1])  # (N, H)
    teacher_flat = None if teacher_hidden is None else teacher_hidden.detach().reshape(-1, teacher_hidden.shape[-1])
    labels = None if labels is None else labels.reshape(-1)
    weight = None if weight is None else weight.detach().reshape(-1)
    kept = None
    if mask is not None:
        kept = mask.reshape(-1).nonzero().squeeze(-1)
        flat = flat[kept]
        teacher_flat, labels, weight = (None if x is None else x[kept] for x in (teacher_flat, labels, weight))
    count = len(flat)
    task = _Task(
        head=head.detach(), divergence=divergence, teacher_hidden=teacher_flat, teacher_head=teacher_head,
        labels=labels, temperature=temperature, soft_weight=soft_weight, hard_weight=hard_weight, weight=weight,
        amount=1.0 / max(count, 1) if reduction == "mean" else 1.0, chunk=chunk or chunk_size(head.vocab, flat),
    )  # fmt: skip
    value, soft, hard = _FusedHead.apply(flat, head.weight, head.bias, task, torch.is_grad_enabled())
    return VocabularyLoss(
        value=value,
        count=torch.tensor(float(count), device=hidden.device),
        soft=_spread(soft, kept, leading),
        hard=_spread(hard, kept, leading),
    )


def _spread(values: Tensor | None, kept: Tensor | None, leading: torch.Size) -> Tensor | None:
    if values is None or kept is None:
        return None if values is None else values.reshape(leading)
    return values.new_zeros(leading.numel()).index_copy(0, kept, values).reshape(leading)


def _check(
    hidden: Tensor,
    head: Head,
    divergence: Divergence | None,
    teacher_hidden: Tensor | None,
    teacher_head: Head | None,
    labels: Tensor | None,
) -> None:
    if divergence is None and labels is None:
        raise ValueError("neither a divergence nor labels were given: there is nothing to compute. Give one, or both")
    if divergence is not None and (teacher_hidden is None or teacher_head is None):
        raise ValueError("a divergence compares with a teacher: give teacher_hidden and teacher_head")
    if teacher_head is not None and teacher_head.vocab != head.vocab:
        raise ValueError(
            f"the teacher's head has {teacher_head.vocab:,} tokens and the student's {head.vocab:,}. Cut both to the "
            "tokenizer's true vocabulary (rows that pad a weight matrix are no tokens); different tokenizers cannot be "
            "compared token by token"
        )
    if teacher_hidden is not None and teacher_hidden.shape[:-1] != hidden.shape[:-1]:
        raise ValueError(
            f"teacher_hidden is {tuple(teacher_hidden.shape)} and hidden {tuple(hidden.shape)}: all axes but the last "
            "must be equal. Feed both models the same tokens"
        )


# --- chunk by chunk --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is computed; the tensors hold the N valid tokens."""

    head: Head
    teacher_hidden: Tensor | None
    teacher_head: Head | None
    divergence: Divergence | None
    labels: Tensor | None
    temperature: float
    soft_weight: float
    hard_weight: float
    weight: Tensor | None
    amount: float  # what the sum over tokens is multiplied by, last of all: half-precision gradients keep their size
    chunk: int

    def token_losses(self, projected: Tensor, rows: slice, teacher: Projection | None) -> tuple[Any, Any]:
        """Divergence and cross-entropy of a chunk, (n,) or None each, from the student's projected states (n, V)."""
        logits = self.head.shape(projected)
        tempered = hard = soft = None
        if self.labels is not None:
            plain = tempered_log_softmax(logits)
            hard = -plain.gather(-1, self.labels[rows].unsqueeze(-1)).squeeze(-1)
            tempered = plain if self.temperature == 1 else None
        if self.divergence is not None:
            assert teacher is not None and self.teacher_hidden is not None
            with torch.no_grad():
                p = tempered_log_softmax(teacher.head.shape(teacher.of(self.teacher_hidden[rows])), self.temperature)
            soft = self.divergence(p, tempered_log_softmax(logits, self.temperature) if tempered is None else tempered)
        return soft, hard

    def total(self, soft: Tensor | None, hard: Tensor | None, rows: slice) -> Tensor:
        value: Any = 0
        for losses, factor in ((soft, self.soft_weight), (hard, self.hard_weight)):
            if losses is not None:
                value = value + factor * (losses if self.weight is None else losses * self.weight[rows]).sum()
        return value


class _FusedHead(torch.autograd.Function):
    """Loss and gradients in one pass over the chunks."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, task: _Task, learns: bool):
        device = hidden.device.type
        automatic = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            for_hidden, for_weight, for_bias = (learns and needed for needed in ctx.needs_input_grad[:3])
            student = Projection(task.head, automatic or hidden.dtype)
            teacher = None
            if task.teacher_head is not None and task.teacher_hidden is not None:
                teacher = Projection(task.teacher_head, automatic or task.teacher_hidden.dtype)
            sums = torch.promote_types(student.dtype, torch.float32)  # what many chunks add up in
            value = torch.zeros((), dtype=sums, device=hidden.device)
            soft = None if task.divergence is None else hidden.new_zeros(len(hidden), dtype=sums)
            hard = None if task.labels is None else hidden.new_zeros(len(hidden), dtype=sums)
            gradients = (
                torch.zeros_like(hidden) if for_hidden else None,
                torch.zeros_like(weight, dtype=sums) if for_weight else None,
                torch.zeros_like(bias, dtype=sums) if for_bias and bias is not None else None,
            )
            for rows in slices(len(hidden), task.chunk):
                projected = student.of(hidden[rows]).requires_grad_(any(g is not None for g in gradients))  # (n, V)
                with torch.enable_grad():
                    chunk_soft, chunk_hard = task.token_losses(projected, rows, teacher)
                    total = task.total(chunk_soft, chunk_hard, rows)
                if projected.requires_grad:
                    (slope,) = torch.autograd.grad(total, projected)
                    _add_gradients(gradients, slope, hidden[rows], student, rows)
                    del slope
                value += total.detach()
                for kept, chunk_values in ((soft, chunk_soft), (hard, chunk_hard)):
                    if kept is not None:
                        kept[rows] = chunk_values.detach()
                del projected, chunk_soft, chunk_hard, total
        ctx.gradients, ctx.dtypes = gradients, (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        ctx.amount = task.amount
        ctx.mark_non_differentiable(*(x for x in (soft, hard) if x is not None))
        return value * task.amount, soft, hard

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Any):
        slope = slope * ctx.amount
        scaled = [
            None if g is None else (g * slope).to(dtype) for g, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        ]
        return *scaled, None, None


def _add_gradients(gradients: tuple[Any, ...], slope: Tensor, hidden: Tensor, student: Projection, rows: slice) -> None:
    """From d loss / d projected, (n, V), to hidden states, weight and bias."""
    for_hidden, for_weight, for_bias = gradients
    low = slope.to(student.dtype)
    if for_hidden is not None:
        for_hidden[rows] = low @ student.weight
    if for_weight is not None:
        if for_weight.dtype == student.dtype:
            for_weight.addmm_(low.T, hidden.to(student.dtype))
        else:  # a half-precision product, added up in float32
            for_weight += low.T @ hidden.to(student.dtype)
    if for_bias is not None:
        for_bias += slope.sum(0)


__all__ = ["VocabularyLoss", "vocabulary_loss"]
