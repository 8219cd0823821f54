"""Classifier-free guidance as a wrapper around a teacher, never a flag inside an objective."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Prediction, Teacher
from limbeck.processes import align
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

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, features: Sequence[int] = ()) -> Prediction:
        both = conditions.cat(cond, self.teacher.null(cond))
        out = self.teacher(torch.cat([xt, xt]), torch.cat([t, t]), both, features=features)
        kept = tuple(f.chunk(2)[0] for f in out.features)
        if out.logits is not None:
            conditional, unconditional = out.logits.log_softmax(-1).chunk(2)
            return Prediction(logits=self._mix(conditional, unconditional, t), features=kept)
        conditional, unconditional = out.x0_hat.chunk(2)
        return Prediction(x0_hat=self._mix(conditional, unconditional, t), features=kept)

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

    def trainable_copy(self, mode="full", **options):
        """A copy of the unguided network: a critic follows the student's law, guidance is the teacher's business."""
        return self.teacher.trainable_copy(mode, **options)


def unguided(teacher: Teacher) -> Teacher:
    """The teacher inside its guidance, or the teacher itself: whoever needs both branches apart asks this one."""
    return unguided(teacher.teacher) if isinstance(teacher, Guided) else teacher
