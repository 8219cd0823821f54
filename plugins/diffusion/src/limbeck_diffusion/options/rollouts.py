"""Options of how a student's samples are made, in training and (chunk by chunk) in streaming. Pydantic, no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.manifest import Needs
from limbeck.options import Options
from limbeck_diffusion.options.common import CATEGORICAL, check_falling


class RolloutBlock(Options):
    """What every rollout has."""

    steps: int = Field(1, ge=1, description="calls of a few-step student, of each chunk; a scene is always one render")
    exit: Literal["random", "last"] = Field(
        "random",
        description="steps > 1: after which call of its rollout the student is judged; random (DMD2) matches the "
        "mixture of all its outputs, last only what is sampled in the end",
    )
    gradient: Literal["last", "all"] = Field(
        "last",
        description="steps > 1: which calls of the rollout carry gradient; last (DMD2, Self Forcing), or all, at the "
        "memory of all: with exit: last the earlier calls learn only so",
    )


class FewStepRollout(RolloutBlock):
    """A few calls with fresh noise between them; one call on tokens; one render of a scene."""

    kind: Literal["few_step"] = Field("few_step", description="how samples are made: few_step, or chunked")
    random_tokens: Annotated[float, CATEGORICAL] = Field(
        0.4, ge=0, le=1, description="tokens: share of the student's all-mask start that is random tokens (Di[M]O)"
    )


class Chunks(Options):
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
        return check_falling(times)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sink and self.window is None:
            raise ValueError("sink is how many first frames stay beside a window, but window is null: all are seen")
        if self.shift is not None and self.times is not None:
            raise ValueError("shift spaces times that are not given; got both times and shift")
        return self


class ChunkedRollout(Chunks, RolloutBlock):
    """Chunk by chunk behind a cache, as a causal student will be used."""

    kind: Literal["chunked"] = Field("chunked", description="how samples are made: few_step, or chunked")
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

    def needs(self) -> Needs:
        return Needs(generator={"gaussian", "denoiser", "cache"}, teacher={"gaussian"})


__all__ = ["ChunkedRollout", "Chunks", "FewStepRollout", "RolloutBlock"]
