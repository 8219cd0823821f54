"""Options of the pretraining objectives. Pydantic, no torch."""

from typing import Literal

from pydantic import Field, field_validator

from limbeck.options import Options
from limbeck_diffusion.options.common import ErrorKind, TimeDistribution, check_range


class DenoisingOptions(Options):
    """Regression on noised data with any of the usual weights: flow matching; by other defaults EDM's denoising."""

    error: ErrorKind = Field("velocity", description="the prediction whose squared error is minimised")
    sigma_data: float = Field(0.5, gt=0, description="standard deviation of the data, for the edm weight")
    label_dropout: float = Field(
        0.0, ge=0, le=1, description="chance that a condition is replaced by the null condition"
    )
    times: TimeDistribution = Field(TimeDistribution(), description="distribution of t")


class DiffusionForcingOptions(DenoisingOptions):
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


class StratifiedTimes(Options):
    """Uniform times of masked diffusion."""

    range: tuple[float, float] = Field((1e-3, 1.0), description="times used; below the lower end little is masked")
    antithetic: bool = Field(True, description="spread the times of a batch evenly over the range")

    @field_validator("range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_range(value, "range")


class MDLMOptions(Options):
    """Pretraining of a masked diffusion model."""

    times: StratifiedTimes = Field(StratifiedTimes(), description="distribution of t")


__all__ = ["DenoisingOptions", "DiffusionForcingOptions", "MDLMOptions", "StratifiedTimes"]
