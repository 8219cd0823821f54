"""Numbers that change while a run goes on: `0.98`, or `{start: 0.98, end: 0.5, steps: 500}`. Imports no torch.

The value is a function of the step, so that a resumed run continues where it was.
"""

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Ramp(BaseModel):
    """From `start` to `end` during `steps` steps after step `after`; constant before and behind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Finite
    end: Finite
    steps: int = Field(ge=1, description="how many steps the change takes")
    after: int = Field(default=0, ge=0, description="steps before it begins")
    shape: Literal["linear", "cosine", "sqrt"] = Field(
        default="linear",
        description="share of the change made after a share u of the steps: u, (1 - cos pi u)/2, u^0.5",
    )


Scheduled: TypeAlias = Finite | Ramp


def value_at(scheduled: Scheduled, step: int) -> float:
    """The value at a step, counted from 0."""
    if not isinstance(scheduled, Ramp):
        return float(scheduled)
    share = min(max((step - scheduled.after) / scheduled.steps, 0.0), 1.0)
    if scheduled.shape == "cosine":
        share = 0.5 * (1 - math.cos(math.pi * share))
    elif scheduled.shape == "sqrt":
        share = math.sqrt(share)
    return scheduled.start + (scheduled.end - scheduled.start) * share


def bounds(scheduled: Scheduled) -> tuple[float, float]:
    """The least and the greatest value that it ever takes."""
    if not isinstance(scheduled, Ramp):
        return float(scheduled), float(scheduled)
    return min(scheduled.start, scheduled.end), max(scheduled.start, scheduled.end)


__all__ = ["Ramp", "Scheduled", "bounds", "value_at"]
