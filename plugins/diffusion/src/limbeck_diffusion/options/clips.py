"""Options of what is about clips: a time per frame, rollouts chunk by chunk. No torch."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.options import Options
from limbeck_diffusion.options.base import DMD2Options, ErrorKind, TimeLaw, check_range


class _ChunkOptions(Options):
    """How a causal generator makes a clip chunk by chunk: the same in training and in streaming."""

    chunk: int | None = Field(None, ge=1, description="frames made at a time; None: the generator's own chunk")
    times: tuple[float, ...] | None = Field(
        None, description="input time of every call, falling; None: equally spaced from t_max, with `shift`"
    )
    shift: float | None = Field(
        None, gt=0, description="rectified flow: shift of equally spaced times, 5 for (1, .94, .83, .63); None: its own"
    )
    window: int | None = Field(None, ge=1, description="finished frames that are seen, counted back; None: all of them")
    sink: int = Field(0, ge=0, description="first frames that are seen for good, beside the window")
    context_time: float = Field(
        0.0, ge=0, lt=1, description="noise level at which finished chunks are cached, a fraction of t_max"
    )

    @field_validator("times")
    @classmethod
    def _falling(cls, times: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if times is not None and (not times or times[-1] <= 0 or any(a <= b for a, b in pairwise(times))):
            raise ValueError(f"times are positive and fall strictly from noise to data; got {times}")
        return times

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sink and self.window is None:
            raise ValueError("sink says how many first frames stay beside a window, but window is null: all are seen")
        if self.shift is not None and self.times is not None:
            raise ValueError("shift spaces times that are not given; got both times and shift")
        return self


class SelfForcingOptions(_ChunkOptions, DMD2Options):
    """Distribution matching on clips that the student rolled out by itself."""

    steps: int = Field(4, ge=1, description="calls per chunk")
    tail: int | None = Field(
        None, ge=1, description="only chunks that start in the last so many frames carry gradients; None: all"
    )
    frames: int | None = Field(
        None,
        ge=1,
        description="longest rollout: half of the steps make the clip's own length, the others draw a longer one up to "
        "this and judge its last frames, as many as the teacher's clip has; None: always the clip's",
    )

    @model_validator(mode="after")
    def _as_many_times(self) -> Self:
        if self.times is not None and len(self.times) != self.steps:
            raise ValueError(f"times gives {len(self.times)} calls, but steps is {self.steps}; make them agree")
        return self


class StreamingOptions(_ChunkOptions):
    """Chunk by chunk with a cache, as long as one likes."""

    frames: int | None = Field(None, ge=1, description="length of a sample; None: that of the generator's space")
    transition: Literal["renoise", "ddim"] = Field(
        "renoise", description="between calls: fresh noise (few-step students) or a deterministic step (teachers)"
    )


class DiffusionForcingOptions(Options):
    """Denoising with an independent level for every frame."""

    levels: Literal["frame", "chunk", "clip"] = Field(
        "frame", description="what has a level of its own; clip is ordinary denoising"
    )
    chunk: int | None = Field(None, ge=1, description="levels: chunk: its frames; None: the generator's own chunk")
    clean_context: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of clips in which everything before a random chunk is clean (t = 0), as behind a cache",
    )
    error: ErrorKind = Field("velocity", description="the prediction whose squared error is minimised")
    sigma_data: float = Field(0.5, gt=0, description="standard deviation of the data, for the edm weight")
    label_dropout: float = Field(
        0.0, ge=0, le=1, description="chance that a condition is replaced by the null condition"
    )
    time: TimeLaw = Field(
        "uniform", description="law of t: uniform in t, logit-normal in t/t_max, log-normal in sigma/alpha"
    )
    time_mean: float = Field(0.0, description="mean of the logit of t/t_max, or of log(sigma/alpha) (P_mean)")
    time_std: float = Field(1.0, gt=0, description="its standard deviation (P_std)")
    t_range: tuple[float, float] = Field((1e-4, 1.0), description="times used, as fractions of t_max")

    @field_validator("t_range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_range(value, "t_range")


class DiffusionForcingSamplerOptions(Options):
    """A level per frame that falls at its own pace."""

    uncertainty: float | Literal["autoregressive"] = Field(
        1.0,
        description="by how many steps a chunk lags behind the one before: 0 denoises the whole clip at once, 1 is the "
        "pyramid, autoregressive finishes each chunk before the next begins",
    )
    chunk: int | None = Field(None, ge=1, description="frames with one level; None: the generator's own chunk")
    context_time: float = Field(
        0.0, ge=0, lt=1, description="level that finished frames are shown at, a fraction of t_max (stabilisation)"
    )

    @field_validator("uncertainty")
    @classmethod
    def _lag(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not value >= 0:
            raise ValueError(f"uncertainty is a lag in steps, 0 or more, or 'autoregressive'; got {value}")
        return value
