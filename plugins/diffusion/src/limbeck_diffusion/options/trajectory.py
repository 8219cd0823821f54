"""Options of the objectives that follow a teacher's trajectories. Pydantic, no torch."""

from math import log2
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limbeck.manifest import Needs
from limbeck.options import Options
from limbeck_diffusion.options.common import CATEGORICAL, GAUSSIAN, Metric, Spacing, TimeKind

# --- consistency -----------------------------------------------------------------------------------------------------


class Ratio(Options):
    """The schedule `ratio`: s closes in on t stage by stage (ECT)."""

    base: Annotated[float, GAUSSIAN] = Field(2.0, gt=1, description="q of ECT")
    stages: Annotated[int, GAUSSIAN] = Field(
        8, ge=1, description="number of times the gap 1 - s/t is divided by `base`"
    )
    stage_steps: Annotated[int, GAUSSIAN] = Field(1000, ge=1, description="steps per stage")


class NeighbourTimes(Options):
    """Which pairs (t, s) of one trajectory are compared."""

    schedule: Annotated[Literal["grid", "ratio"], GAUSSIAN] = Field(
        "grid",
        description="neighbours on a grid, or t from a distribution and s at a ratio of it that tends to 1 (ECT)",
    )
    nodes: int = Field(18, ge=1, description="grid: number of steps from t_max to 0")
    spacing: Annotated[Spacing | None, GAUSSIAN] = Field(
        None, description="grid: as for samplers; None: karras on EDM, uniform elsewhere"
    )
    kind: Annotated[TimeKind | None, GAUSSIAN] = Field(
        None,
        description="distribution of the step of a grid (uniform, or log_normal as in iCT) or of t (ratio); None: "
        "uniform on a grid, log_normal with ratio",
    )
    mean: Annotated[float, GAUSSIAN] = Field(
        -1.1, description="mean of log(sigma/alpha), P_mean (logit_normal: of the logit of t/t_max)"
    )
    std: Annotated[float, GAUSSIAN] = Field(2.0, gt=0, description="its standard deviation, P_std")
    ratio: Ratio = Field(Ratio(), description="schedule: ratio")

    @model_validator(mode="after")
    def _of_a_grid(self) -> Self:
        if self.schedule == "grid" and self.kind == "logit_normal":
            raise ValueError("the steps of a grid are drawn uniformly or log_normal; got kind: logit_normal")
        return self


class End(Options):
    """Where trajectories end."""

    kind: Annotated[Literal["zero", "sigma_min"], GAUSSIAN] = Field(
        "zero",
        description="grid: t = 0, or the last noise level above it, whose states are the answer there (Song et al. "
        "2023, CoMoSpeech)",
    )


class ConsistencyMetric(Metric):
    """How far the student's prediction is from the target's."""

    divergence: Annotated[Literal["reverse_kl", "forward_kl"], CATEGORICAL] = Field(
        "reverse_kl",
        description="tokens: KL(student || target) or KL(target || student) at positions that stay masked; revealed "
        "ones have their cross entropy",
    )
    padding: Annotated[Literal["excluded", "counted"], GAUSSIAN] = Field(
        "excluded",
        description="with a loss_mask: the mean is over what the mask holds, or over all elements, masked ones as 0",
    )


class Target(Options):
    """The network that the student is compared with."""

    decay: float = Field(0.0, ge=0, lt=1, description="EMA decay of the target network; 0 is a stop-gradient")


class ConsistencyOptions(Options):
    """Consistency distillation and training: settings of Song et al. 2023, iCT and ECT."""

    mode: Literal["distillation", "training"] = Field(
        "distillation", description="x_s from x_t by the teacher's solver, or from the data with the same noise"
    )
    solver: Annotated[Literal["euler", "heun", "ddim"], GAUSSIAN] = Field(
        "heun",
        description="the teacher's step from t to s (distillation); ddim is Euler's in sigma/alpha, on EDM the same as "
        "euler",
    )
    levels: Annotated[Literal["clip", "frame", "chunk"], GAUSSIAN] = Field(
        "clip",
        description="clips: what has a time of its own, the clip, each frame, or each of the generator's chunks (a "
        "start for causal students)",
    )
    times: NeighbourTimes = Field(NeighbourTimes(), description="which pairs (t, s) are compared")
    end: End = Field(End(), description="where trajectories end")
    metric: ConsistencyMetric = Field(ConsistencyMetric(), description="how far two predictions are apart")
    target: Target = Field(Target(), description="the network that the student is compared with")
    weight: Literal["none", "inverse_step"] = Field("none", description="1, or 1 / (t - s) as in iCT and ECT")
    sampling_steps: int = Field(1, ge=1, description="calls when the student is sampled")

    @model_validator(mode="after")
    def _ends_on_a_grid(self) -> Self:
        if self.end.kind == "sigma_min":
            if self.times.schedule != "grid" or self.times.spacing == "uniform":
                raise ValueError(
                    "end.kind: sigma_min is the last noise level of a grid; it goes with times.schedule: grid and "
                    f"times.spacing karras or log_snr; got schedule: {self.times.schedule}, spacing: "
                    f"{self.times.spacing}"
                )
            if self.times.nodes < 2:
                raise ValueError("end.kind: sigma_min leaves nodes - 1 steps; times.nodes must be 2 or more")
        return self

    @model_validator(mode="after")
    def _one_step_each(self) -> Self:
        if self.levels != "clip" and self.weight == "inverse_step":
            raise ValueError(
                f"weight: inverse_step is of one step per sample, and levels: {self.levels} has one per frame"
            )
        return self

    def needs(self) -> Needs:
        timed = set() if self.levels == "clip" else {"gaussian", "frame_time"}
        if self.mode == "training":
            return Needs(generator=timed, data={"samples"})
        return Needs(generator=timed, teacher={"denoiser", *timed})  # on the generator's process


# --- self-distillation through time ----------------------------------------------------------------------------------


class Rounds(Options):
    """Every round halves the sampling steps, and the student becomes the teacher."""

    teacher_steps: int = Field(1024, ge=1, description="sampling steps of the teacher in the first round: dt is 1 / it")
    sub_steps: int = Field(2, ge=1, description="teacher steps that one student step replaces")
    student_steps: int = Field(8, ge=1, description="sampling steps of the student in the last round")
    steps: int = Field(
        10_000, ge=1, description="training steps per round; then dt doubles and the student becomes the teacher"
    )
    decay: float = Field(
        0.0, ge=0, lt=1, description="EMA decay of the weights that become the next teacher; 0: the live ones"
    )

    @model_validator(mode="after")
    def _halve(self) -> Self:
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
    def count(self) -> int:
        """How many rounds it takes until a student step is 1 / student_steps."""
        return round(log2(self.teacher_steps / (self.sub_steps * self.student_steps))) + 1


class SDTTTimes(Options):
    """Times at which the student learns."""

    kind: Literal["grid", "uniform"] = Field(
        "grid", description="the times at which the student's sampler calls it, or all of [0, 1]"
    )


class SDTTMetric(Options):
    """How far the student's prediction is from the teacher's."""

    divergence: Literal["reverse_kl", "forward_kl", "tvd", "mse"] = Field(
        "reverse_kl", description="KL(student || target), KL(target || student), total variation, or log-probabilities"
    )


class SDTTTarget(Options):
    """The teacher's predictions that are learned."""

    temperature: float = Field(
        1.0,
        gt=0,
        description="divides the logits of the given teacher, in its steps and its answers: the student learns to "
        "sample at 1 as the teacher does at this. The teachers of later rounds have learned it",
    )


class SDTTOptions(Options):
    """Self-distillation through time; names and defaults of the paper."""

    rounds: Rounds = Field(Rounds(), description="how the steps are halved, round by round")
    times: SDTTTimes = Field(SDTTTimes(), description="distribution of t")
    metric: SDTTMetric = Field(SDTTMetric(), description="how far the predictions are apart")
    target: SDTTTarget = Field(SDTTTarget(), description="the teacher's predictions that are learned")


__all__ = ["ConsistencyOptions", "SDTTOptions"]
