"""Predictions that are not finite are refused by name, before they reach the student."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction


def check_finite(teacher: Any, prediction: Prediction, t: Tensor) -> None:
    """Refuse a teacher's prediction with NaN or infinity, by name, before it reaches the student.

    Raises:
        LimbeckError
    """
    value = prediction.x0_hat if prediction.x0_hat is not None else prediction.logits
    if value is None or bool(torch.isfinite(value).all()):
        return
    bad = ~torch.isfinite(value).flatten(1).all(1)
    times = ", ".join(f"{float(time):.3g}" for time in t[bad][:4])
    raise LimbeckError(
        f"the teacher ({type(teacher).__name__}) predicted values that are not finite for {int(bad.sum())} of "
        f"{len(bad)} samples, the first at t = {times}. Check its weights; load it in float32 if it runs in half "
        "precision; keep away from pure noise (times.range) if it predicts eps"
    )


def checked(teacher: Any, prediction: Prediction, t: Tensor) -> Callable[[], None] | None:
    """`check_finite`, at once on a CPU. Elsewhere every step would wait for the answer: it is returned instead, as the
    `explain` of a loss, for when there is something to explain.

    Raises:
        LimbeckError
    """
    if t.device.type == "cpu":
        check_finite(teacher, prediction, t)
        return None
    return lambda: check_finite(teacher, prediction, t)


__all__ = ["check_finite", "checked"]
