"""Options of the samplers. Pydantic, no torch."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.options import Options
from limbeck_diffusion.options.common import Spacing, check_falling
from limbeck_diffusion.options.rollouts import Chunks

# --- Gaussian processes ----------------------------------------------------------------------------------------------


class GridOptions(Options):
    """Where a sampler puts its steps."""

    spacing: Spacing | None = Field(
        None, description="equal steps in t, in log SNR, or Karras et al. 2022; None: karras on EDM, uniform elsewhere"
    )
    rho: float = Field(7.0, gt=0, description="exponent of the Karras spacing")
    sigma_min: float = Field(0.002, gt=0, description="last noise level before 0, sigma_t / alpha_t (log_snr, karras)")
    sigma_max: float | None = Field(
        None, gt=0, description="first noise level (log_snr, karras); None: that of t_max, or 80 where it is larger"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_max is not None and self.sigma_max <= self.sigma_min:
            raise ValueError(f"sigma_max must exceed sigma_min; got {self.sigma_max:g} <= {self.sigma_min:g}")
        return self


class ODEOptions(GridOptions):
    """Euler and Heun."""

    chart: Literal["native", "angle"] | None = Field(
        None,
        description="integrate in t (native) or in the angle atan(sigma/alpha); None: angle on VP, whose velocity is "
        "infinite at t = 0, native elsewhere",
    )


class MultistepDPMOptions(GridOptions):
    """DPM-Solver++(2M)."""

    order: Literal[1, 2] = Field(2, description="1 is DDIM")


class EDMStochasticOptions(GridOptions):
    """Karras et al. 2022, Algorithm 2; names and defaults of the paper (ImageNet-64)."""

    s_churn: float = Field(40.0, ge=0, description="amount of noise added and removed; 0 is Heun in the EDM frame")
    s_min: float = Field(0.05, ge=0, description="churn only above this noise level sigma_t / alpha_t")
    s_max: float = Field(50.0, ge=0, description="churn only below this noise level")
    s_noise: float = Field(1.003, gt=0, description="standard deviation of the added noise")


class MultistepOptions(Options):
    """Few-step generation: predict x0, noise it again, predict again."""

    times: tuple[float, ...] | None = Field(
        None, description="input time of every call, falling; None: equally spaced from t_max (shifted by the process)"
    )
    transition: Literal["renoise", "ddim"] = Field(
        "renoise", description="fresh noise between calls (consistency models, DMD2) or a deterministic step"
    )

    @field_validator("times")
    @classmethod
    def _falling(cls, times: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return check_falling(times)


# --- clips -----------------------------------------------------------------------------------------------------------


class StreamingOptions(Chunks):
    """Chunk by chunk with a cache, as long as one likes."""

    frames: int | None = Field(None, ge=1, description="length of a sample; None: that of the generator's space")
    transition: Literal["renoise", "ddim"] = Field(
        "renoise", description="between calls: fresh noise (few-step students) or a deterministic step (teachers)"
    )


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


# --- tokens ----------------------------------------------------------------------------------------------------------


class AncestralOptions(Options):
    """Reverse steps of a categorical process."""

    spacing: Literal["uniform", "alpha"] = Field(
        "uniform", description="steps equal in t, or in alpha_t (equally many tokens lifted per step)"
    )
    temperature: float = Field(1.0, ge=0, description="logits are divided by it; 0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="keep the likeliest tokens that hold this share of the chance")


class ConfidenceOptions(Options):
    """Low-confidence remasking."""

    temperature: float = Field(1.0, ge=0, description="logits are divided by it; 0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="keep the likeliest tokens that hold this share of the chance")
    noise: float = Field(0.0, ge=0, description="Gumbel noise on the confidence, falling to 0 (MaskGIT); 0: none")


class OneCallOptions(Options):
    """All tokens of a sequence from one call."""

    random_tokens: float = Field(
        0.4, ge=0, le=1, description="share of an all-mask start that is random tokens: as the student was trained"
    )
    temperature: float = Field(1.0, ge=0, description="logits are divided by it; 0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="keep the likeliest tokens that hold this share of the chance")
