"""Small blocks and checks that several families share. Pydantic, no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from limbeck.options import Options
from limbeck.scheduled import Ramp, Scheduled, value_at

Spacing = Literal["uniform", "log_snr", "karras"]
TimeKind = Literal["uniform", "logit_normal", "log_normal"]
Distance = Literal["l2", "pseudo_huber", "pseudo_huber_elements"]
ErrorKind = Literal["x0", "eps", "v", "velocity", "edm"]
TimeRange = tuple[Scheduled, Scheduled]


# --- what an option means on which process ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Only:
    """Marks a field, `Annotated[type, GAUSSIAN]`, that means something on one kind of process only."""

    process: Literal["gaussian", "categorical"]
    about: str


GAUSSIAN = Only("gaussian", "continuous noise")
CATEGORICAL = Only("categorical", "tokens")


def without_meaning(options: Options, process: str, path: str = "") -> Iterator[tuple[str, Any, Only]]:
    """(full path, value, mark) of every option that is not left at its default though it means nothing on a process of
    this kind, `gaussian` or `categorical`."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if isinstance(value, Options):
            yield from without_meaning(value, process, f"{path}{name}.")
        for mark in field.metadata:
            if isinstance(mark, Only) and mark.process != process and value != field.default:
                yield f"{path}{name}", value, mark


# --- times -----------------------------------------------------------------------------------------------------------


def check_range(value: tuple[float, float], what: str) -> tuple[float, float]:
    low, high = value
    if not 0 <= low < high <= 1:
        raise ValueError(f"{what} is a range of t / t_max: 0 <= low < high <= 1; got ({low:g}, {high:g})")
    return value


def check_scheduled_range(value: TimeRange, what: str) -> TimeRange:
    """Both ends where either of them changes its course; in between they move steadily."""
    turns = {0} | {step for end in value if isinstance(end, Ramp) for step in (end.after, end.after + end.steps)}
    for step in sorted(turns):
        try:
            check_range((value_at(value[0], step), value_at(value[1], step)), what)
        except ValueError as error:
            raise ValueError(f"{error}" if turns == {0} else f"{error} at step {step}") from None
    return value


def check_falling(times: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Input times of calls: positive, strictly from noise to data."""
    if times is not None and (not times or times[-1] <= 0 or any(a <= b for a, b in pairwise(times))):
        raise ValueError(f"times are positive and fall strictly from noise to data; got {times}")
    return times


class TimeDistribution(Options):
    """Of the training time t."""

    kind: TimeKind = Field("uniform", description="uniform in t, logit-normal in t/t_max, or log-normal in sigma/alpha")
    mean: float = Field(0.0, description="mean of the logit of t/t_max, or of log(sigma/alpha) (P_mean)")
    std: float = Field(1.0, gt=0, description="its standard deviation (P_std)")
    range: tuple[float, float] = Field((1e-4, 1.0), description="times used, as fractions of t_max")

    @field_validator("range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_range(value, "range")


class UniformTimes(Options):
    """Times drawn uniformly from a range that may change during a run."""

    range: TimeRange = Field(
        (0.02, 0.98), description="times used, fractions of t_max; either end may be a ramp {start, end, steps}"
    )

    @field_validator("range")
    @classmethod
    def _range(cls, value: TimeRange) -> TimeRange:
        return check_scheduled_range(value, "range")


# --- distances -------------------------------------------------------------------------------------------------------


class Metric(Options):
    """How far a prediction is from its target."""

    distance: Annotated[Distance, GAUSSIAN] = Field(
        "pseudo_huber", description="distance of prediction and target, mean over the event"
    )
    huber_c: Annotated[float | None, GAUSSIAN] = Field(
        None, gt=0, description="its c; None: 0.00054 per sample (iCT), 0.001 per element (LCM)"
    )


__all__ = [
    "CATEGORICAL",
    "GAUSSIAN",
    "Distance",
    "ErrorKind",
    "Metric",
    "Only",
    "Spacing",
    "TimeDistribution",
    "TimeKind",
    "TimeRange",
    "UniformTimes",
    "check_falling",
    "check_range",
    "check_scheduled_range",
    "without_meaning",
]
