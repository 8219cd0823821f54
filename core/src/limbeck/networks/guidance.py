"""Classifier-free guidance as a wrapper around a teacher, never a flag inside an objective."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Prediction, Teacher
from limbeck.networks.cache import Cache
from limbeck.process.gaussian import align
from limbeck.scheduled import Scheduled, value_at


def guide(cond: Tensor, uncond: Tensor, scale: float | Tensor) -> Tensor:
    """uncond + scale (cond - uncond), the standard convention: 1 is conditional, 0 unconditional (Ho & Salimans 2022).

    The other convention in circulation, cond + w (cond - uncond), has scale = 1 + w: convert on import.
    """
    return uncond + scale * (cond - uncond)


class Guided(Teacher):
    """`Guided(teacher, scale)`: x0_hat (or log-probabilities) guided by `scale`, in one batched call.

    `interval` (low, high) limits guidance to times in it (Kynkaanniemi et al. 2024); elsewhere the conditional
    prediction is returned. `features` are those of the conditional branch. `scale` may change with the step of a run
    (`limbeck.scheduled.Ramp`); `self.scale` is its value at the last `at_step`.
    """

    def __init__(self, teacher: Teacher, scale: Scheduled, interval: tuple[float, float] | None = None):
        super().__init__()
        self.teacher, self.schedule, self.interval = teacher, scale, interval
        self.scale = value_at(scale, 0)
        self.process, self.space = teacher.process, teacher.space

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, features: Sequence[int] = (), **causal: Any
    ) -> Prediction:
        conditional, unconditional = both(self.teacher, xt, t, cond, features=features, **causal)
        return self.mix(conditional, unconditional, t)

    def mix(self, conditional: Prediction, unconditional: Prediction, t: Tensor) -> Prediction:
        """The guided prediction from the two that `both` gives."""
        kept = conditional.features
        if conditional.logits is not None and unconditional.logits is not None:
            logs = conditional.logits.log_softmax(-1), unconditional.logits.log_softmax(-1)
            return Prediction(logits=self._mix(*logs, t), features=kept)
        assert conditional.x0_hat is not None and unconditional.x0_hat is not None
        return Prediction(x0_hat=self._mix(conditional.x0_hat, unconditional.x0_hat, t), features=kept)

    def _mix(self, conditional: Tensor, unconditional: Tensor, t: Tensor) -> Tensor:
        if self.interval is None:
            return guide(conditional, unconditional, self.scale)
        low, high = self.interval
        inside = (t >= low) & (t <= high)
        scale = torch.where(inside, self.scale, 1.0).to(conditional.dtype)
        return guide(conditional, unconditional, align(scale, conditional))

    def at_step(self, step: int) -> None:
        self.scale = value_at(self.schedule, step)
        self.teacher.at_step(step)

    def null(self, cond: Any) -> Any:
        return self.teacher.null(cond)

    @property
    def chunk(self) -> int:
        return getattr(self.teacher, "chunk", 1)

    @property
    def cache_ahead(self) -> bool:
        return getattr(self.teacher, "cache_ahead", False)

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Cache:
        """One cache for both branches, which go through the network as one batch."""
        inner: Any = self.teacher
        return inner.new_cache(window, sink, tag)

    def trainable_copy(self, mode="full", **options):
        """A copy of the unguided network: a critic follows the student's samples, guidance belongs to the teacher."""
        return self.teacher.trainable_copy(mode, **options)


def both(
    teacher: Teacher, xt: Tensor, t: Tensor, cond: Any, *, features: Sequence[int] = (), **causal: Any
) -> tuple[Prediction, Prediction]:
    """What an unguided teacher predicts with and without the condition, in one batched call (causal: cache, write)."""
    conds = conditions.cat(cond, teacher.null(cond))
    out = teacher(torch.cat([xt, xt]), torch.cat([t, t]), conds, features=features, **causal)

    def half(k: int) -> Prediction:
        logits = None if out.logits is None else out.logits.chunk(2)[k]
        x0_hat = None if out.x0_hat is None else out.x0_hat.chunk(2)[k]
        return Prediction(x0_hat=x0_hat, logits=logits, features=tuple(f.chunk(2)[k] for f in out.features))

    return half(0), half(1)


def unguided(teacher: Teacher) -> Teacher:
    """The teacher inside its guidance, or the teacher itself: for whoever needs both branches apart."""
    return unguided(teacher.teacher) if isinstance(teacher, Guided) else teacher
