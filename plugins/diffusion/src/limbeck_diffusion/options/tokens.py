"""Options of the components for tokens. Pydantic only, no torch."""

from math import log2
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.options import Options
from limbeck_diffusion.options.base import check_range

# --- samplers --------------------------------------------------------------------------------------------------------


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


# --- objectives ------------------------------------------------------------------------------------------------------


class MDLMOptions(Options):
    """Pretraining of a masked diffusion model."""

    t_range: tuple[float, float] = Field((1e-3, 1.0), description="times used; below the lower end little is masked")
    antithetic: bool = Field(True, description="spread the times of a batch evenly over t_range")

    @field_validator("t_range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        return check_range(value, "t_range")


class SDTTOptions(Options):
    """Self-distillation through time; names and defaults of the paper."""

    teacher_steps: int = Field(1024, ge=1, description="sampling steps of the teacher in the first round: dt is 1 / it")
    sub_steps: int = Field(2, ge=1, description="teacher steps that one student step replaces")
    student_steps: int = Field(8, ge=1, description="sampling steps of the student in the last round")
    round_steps: int = Field(
        10_000, ge=1, description="training steps per round; then dt doubles and the student becomes the teacher"
    )
    divergence: Literal["kl_backward", "kl_forward", "tvd", "mse"] = Field(
        "kl_backward", description="KL(student || target), KL(target || student), total variation, or log-probabilities"
    )
    time: Literal["grid", "uniform"] = Field(
        "grid", description="t: the times at which the student's sampler calls it, or all of [0, 1]"
    )
    temperature: float = Field(
        1.0,
        gt=0,
        description="divides the logits of the given teacher, in its steps and its answers: the student learns to "
        "sample at 1 as the teacher does at this. The teachers of later rounds have learned it",
    )
    teacher_decay: float = Field(
        0.0, ge=0, lt=1, description="EMA decay of the weights that become the next teacher; 0: the live ones"
    )

    @model_validator(mode="after")
    def _rounds(self) -> Self:
        least = self.sub_steps * self.student_steps
        doublings = round(log2(self.teacher_steps / least)) if self.teacher_steps >= least else 0
        if self.teacher_steps != least * 2**doublings:
            raise ValueError(
                f"every round halves the steps, so teacher_steps is sub_steps * student_steps * 2^k; got "
                f"{self.teacher_steps}, {self.sub_steps} and {self.student_steps}. Try teacher_steps "
                f"{least * 2**doublings}"
            )
        return self

    @property
    def rounds(self) -> int:
        """How many rounds it takes until a student step is 1 / student_steps."""
        return round(log2(self.teacher_steps / (self.sub_steps * self.student_steps))) + 1
