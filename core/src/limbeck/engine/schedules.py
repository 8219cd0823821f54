"""Learning rates as pure functions of the step."""

import math
from typing import Literal


def lr_factor(schedule: Literal["constant", "cosine", "linear"], step: int, steps: int, warmup: int = 0) -> float:
    """What the learning rate is multiplied by in step `step` of `steps`, counted from 0.

    (step + 1) / warmup during warm-up; then 1, or with progress p = (step - warmup) / (steps - warmup) in [0, 1):
    linear 1 - p, cosine (1 + cos(pi p)) / 2.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 1.0 - progress if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
