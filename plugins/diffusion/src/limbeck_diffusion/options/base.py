"""Options of every component of this plugin. Pydantic only, no torch: they are checked before anything heavy loads."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.manifest import Needs
from limbeck.options import Options
from limbeck.scheduled import Ramp, Scheduled, bounds, value_at

Spacing = Literal["uniform", "log_snr", "karras"]
TimeLaw = Literal["uniform", "logit_normal", "log_normal"]
Distance = Literal["l2", "pseudo_huber", "pseudo_huber_elements"]
ErrorKind = Literal["x0", "eps", "v", "velocity", "edm"]
FieldWeight = Literal["x0", "sds", "uniform", "fantasia3d", "placid_dreamer"]
TimeRange = tuple[Scheduled, Scheduled]


def check_range(value: tuple[float, float], what: str) -> tuple[float, float]:
    low, high = value
    if not 0 <= low < high <= 1:
        raise ValueError(f"{what} is a range of t / t_max: 0 <= low < high <= 1; got ({low:g}, {high:g})")
    return value


def _check_scheduled_range(value: TimeRange, what: str) -> TimeRange:
    """Both ends where either of them changes its course; in between they move steadily."""
    turns = {0} | {step for end in value if isinstance(end, Ramp) for step in (end.after, end.after + end.steps)}
    for step in sorted(turns):
        try:
            check_range((value_at(value[0], step), value_at(value[1], step)), what)
        except ValueError as error:
            raise ValueError(f"{error}" if turns == {0} else f"{error} at step {step}") from None
    return value


# --- samplers --------------------------------------------------------------------------------------------------------


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
        if times is not None and (not times or any(a <= b for a, b in pairwise(times))):
            raise ValueError(f"times must fall strictly from noise to data; got {times}")
        if times is not None and times[-1] <= 0:
            raise ValueError(f"times are input times of calls and must be positive; got {times}")
        return times


class OneCallOptions(Options):
    """All tokens of a sequence from one call."""

    random_tokens: float = Field(
        0.4, ge=0, le=1, description="share of an all-mask start that is random tokens: as the student was trained"
    )
    temperature: float = Field(1.0, ge=0, description="logits are divided by it; 0 takes the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="keep the likeliest tokens that hold this share of the chance")


# --- objectives ------------------------------------------------------------------------------------------------------


class _TimeOptions(Options):
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


class FlowMatchingOptions(_TimeOptions):
    """Regression of the velocity."""

    label_dropout: float = Field(
        0.0, ge=0, le=1, description="chance that a condition is replaced by the null condition"
    )


class DenoisingOptions(_TimeOptions):
    """Denoising score matching with any of the usual weights."""

    error: ErrorKind = Field("edm", description="the prediction whose squared error is minimised")
    sigma_data: float = Field(0.5, gt=0, description="standard deviation of the data, for the edm weight")
    label_dropout: float = Field(
        0.0, ge=0, le=1, description="chance that a condition is replaced by the null condition"
    )
    time: TimeLaw = Field(
        "log_normal", description="law of t: uniform in t, logit-normal in t/t_max, log-normal in sigma/alpha"
    )
    time_mean: float = Field(-1.2, description="mean of the logit of t/t_max, or of log(sigma/alpha) (P_mean)")
    time_std: float = Field(1.2, gt=0, description="its standard deviation (P_std)")


class ConsistencyOptions(Options):
    """Consistency distillation and training: settings of Song et al. 2023, iCT and ECT."""

    mode: Literal["distillation", "training"] = Field(
        "distillation", description="x_s from x_t by the teacher's solver, or from the data with the same noise"
    )
    solver: Literal["euler", "heun", "ddim"] = Field(
        "heun", description="the teacher's step from t to s (distillation)"
    )
    schedule: Literal["grid", "ratio"] = Field(
        "grid", description="(t, s) neighbours on a grid, or t from a law and s at a ratio of it that tends to 1 (ECT)"
    )
    levels: Literal["clip", "frame", "chunk"] = Field(
        "clip",
        description="clips: what has a time of its own, the clip, each frame, or each of the generator's chunks (a "
        "start for causal students)",
    )
    nodes: int = Field(18, ge=1, description="grid: number of steps from t_max to 0")
    spacing: Spacing | None = Field(None, description="grid: as for samplers; None: karras on EDM, uniform elsewhere")
    index: Literal["uniform", "log_normal"] = Field(
        "uniform", description="grid: which step is drawn; log_normal is the law of iCT with time_mean, time_std"
    )
    time: TimeLaw = Field("log_normal", description="ratio: law of t")
    time_mean: float = Field(
        -1.1, description="mean of log(sigma/alpha), P_mean (ratio, and grid with index log_normal)"
    )
    time_std: float = Field(2.0, gt=0, description="its standard deviation, P_std")
    stages: int = Field(8, ge=1, description="ratio: number of times the gap 1 - s/t is divided by `ratio_base`")
    stage_steps: int = Field(1000, ge=1, description="ratio: steps per stage")
    ratio_base: float = Field(2.0, gt=1, description="ratio: q of ECT")
    distance: Distance = Field("pseudo_huber", description="distance of prediction and target, mean over the event")
    huber_c: float | None = Field(
        None, gt=0, description="its c; None: 0.00054 per sample (iCT), 0.001 per element (LCM)"
    )
    divergence: Literal["kl_backward", "kl_forward"] = Field(
        "kl_backward",
        description="tokens: KL(student || target) or KL(target || student) of the laws at positions that stay masked; "
        "revealed ones have their cross entropy",
    )
    weight: Literal["none", "inverse_step"] = Field("none", description="1, or 1 / (t - s) as in iCT and ECT")
    target_decay: float = Field(0.0, ge=0, lt=1, description="EMA decay of the target network; 0 is a stop-gradient")
    boundary: Literal["zero", "sigma_min"] = Field(
        "zero",
        description="grid: where trajectories end, t = 0 or the last noise level above it, whose states are the answer "
        "there (Song et al. 2023, CoMoSpeech)",
    )
    padding: Literal["excluded", "counted"] = Field(
        "excluded",
        description="with a loss_mask: the mean is over what the mask holds, or over all elements, masked ones as 0",
    )
    sampling_steps: int = Field(1, ge=1, description="calls when the student is sampled")

    @model_validator(mode="after")
    def _ends_on_a_grid(self) -> Self:
        if self.boundary == "sigma_min":
            if self.schedule != "grid" or self.spacing == "uniform":
                raise ValueError(
                    "boundary: sigma_min is the last noise level of a grid; it goes with schedule: grid and spacing "
                    f"karras or log_snr; got schedule: {self.schedule}, spacing: {self.spacing}"
                )
            if self.nodes < 2:
                raise ValueError("boundary: sigma_min leaves nodes - 1 steps; nodes must be 2 or more")
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


class CoMoSpeechOptions(ConsistencyOptions):
    """Consistency distillation as CoMoSpeech has it: 50 noise levels, the teacher's Euler step."""

    solver: Literal["euler", "heun", "ddim"] = Field(
        "ddim", description="the teacher's step from t to s; ddim is Euler's in sigma/alpha, on EDM the same as euler"
    )
    nodes: int = Field(50, ge=2, description="noise levels of the grid, sigma_min to sigma_max")
    spacing: Spacing | None = Field("karras", description="of the levels; karras has exponent 7")
    distance: Distance = Field("l2", description="distance of prediction and target, mean over the event")
    target_decay: float = Field(0.95, ge=0, lt=1, description="EMA decay of the target network; 0 is a stop-gradient")
    boundary: Literal["zero", "sigma_min"] = Field("sigma_min", description="where trajectories end")


class ODEPairsOptions(Options):
    """Regression on stored pairs of noise and teacher sample."""

    distance: Distance = Field(
        "pseudo_huber", description="distance of prediction and stored sample, mean over the event"
    )
    huber_c: float | None = Field(None, gt=0, description="its c; None: 0.00054 per sample, 0.001 per element")


class CriticLoRA(Options):
    """Low-rank adapters on the teacher's weights, in place of a full copy."""

    rank: int = Field(8, ge=1, description="rank of the update")
    alpha: float = Field(16.0, gt=0, description="its scale is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the adapters")
    targets: tuple[str, ...] | None = Field(None, description="names of the adapted layers; None: the model's own")


class FieldOptions(Options):
    """Options of every objective that moves samples along a field."""

    t_range: TimeRange = Field(
        (0.02, 0.98),
        description="times of the field, fractions of t_max; either end may be a ramp {start, end, steps}",
    )
    weight: FieldWeight = Field(
        "sds",
        description="w(t) of w (eps_p - eps_q): sds sigma^2, uniform 1, fantasia3d alpha sigma^2, placid_dreamer "
        "alpha, x0 sigma/alpha, which makes it the difference of x0 predictions (DMD, ISM, HiFA)",
    )
    reduction: Literal["mean", "sum"] | None = Field(
        "sum",
        description="of the field over a sample's elements: mean, sum as papers on scenes have it, or null: mean for "
        "networks and sum for scenes, whose penalties are weighed against a sum",
    )
    clip: Scheduled | None = Field(None, description="limit of the field; may be a ramp")
    clip_by: Literal["element", "pixel"] = Field(
        "element", description="what is limited: every element, or every pixel's norm over its channels"
    )
    steps: int = Field(1, ge=1, description="calls of a few-step student; a scene is always one render")
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

    @field_validator("t_range")
    @classmethod
    def _range(cls, value: TimeRange) -> TimeRange:
        return _check_scheduled_range(value, "t_range")

    @field_validator("clip")
    @classmethod
    def _limit(cls, value: Scheduled | None) -> Scheduled | None:
        if value is not None and bounds(value)[0] <= 0:
            raise ValueError(f"clip limits the field and must be positive; got {bounds(value)[0]:g}")
        return value


class SDSOptions(FieldOptions):
    """Score distillation sampling: the injected noise stands for the student's law."""


class CSDOptions(FieldOptions):
    """Classifier score distillation: the unconditional teacher stands for the student's law."""

    def needs(self) -> Needs:
        return Needs(teacher={"null_condition"})


class CriticOptions(FieldOptions):
    """Options of objectives with an online critic."""

    critic_updates: int = Field(1, ge=1, description="critic turns per generator turn")
    critic_t_range: TimeRange = Field((0.02, 0.98), description="times the critic is trained at; ends may be ramps")
    critic_loss: ErrorKind = Field("eps", description="the prediction whose squared error trains the critic")
    critic_init: Literal["teacher", "generator"] = Field(
        "teacher", description="what the critic starts from; generator: for a teacher that cannot be copied"
    )
    critic_lora: CriticLoRA | None = Field(
        None, description="train adapters on the teacher's weights instead of a full copy of them"
    )

    @field_validator("critic_t_range")
    @classmethod
    def _critic_range(cls, value: TimeRange) -> TimeRange:
        return _check_scheduled_range(value, "critic_t_range")

    def needs(self) -> Needs:
        return Needs(teacher={"trainable_copy"}) if self.critic_init == "teacher" else Needs()


class VSDOptions(CriticOptions):
    """Variational score distillation: a critic of the scene's renders stands for the student's law."""


class DMD2Options(CriticOptions):
    """Distribution matching with a two-time-scale critic: the general form, with every option."""

    subtract: Literal["critic", "noise", "null"] = Field(
        "critic",
        description="what stands for the student's law: a critic, the injected noise (sds), the unconditional teacher "
        "(csd)",
    )
    weight: FieldWeight = Field("x0", description="w(t), as in sds; x0: the difference of x0 predictions")
    reduction: Literal["mean", "sum"] | None = Field(
        None,
        description="of the field over a sample's elements; null: mean for networks, and sum for scenes, whose "
        "penalties are weighed against a sum",
    )
    normalise: bool = Field(
        True, description="divide by the mean distance of sample and teacher prediction (DMD Eq. 8); not on tokens"
    )
    normalise_by: Literal["sample", "frame"] = Field(
        "sample", description="that mean is over the whole sample, or over each frame of a clip (axis 1)"
    )
    critic_updates: int = Field(5, ge=1, description="critic turns per generator turn")
    critic_loss: ErrorKind = Field("velocity", description="the prediction whose squared error trains the critic")
    gan_weight: float = Field(0.0, ge=0, description="weight of the discriminator in the generator's loss; 0: none")
    critic_gan_weight: float = Field(0.01, ge=0, description="weight of the discriminator's loss beside the critic's")
    gan_features: tuple[int, ...] = Field((-1,), description="which features of the critic the discriminator reads")
    divergence: Literal["forward_kl", "reverse_kl"] = Field(
        "forward_kl", description="tokens: whose gradient in the logits is the field, KL(p || q) or KL(q || p) (Di[M]O)"
    )
    critic_weight: Literal["plain", "elbo"] = Field(
        "plain",
        description="tokens: cross entropy of the critic, a plain mean over masked tokens or the bound's weight",
    )
    random_tokens: float = Field(
        0.4, ge=0, le=1, description="tokens: share of the student's all-mask start that is random tokens (Di[M]O)"
    )

    @model_validator(mode="after")
    def _one_critic(self) -> Self:
        if self.gan_weight and self.subtract != "critic":
            raise ValueError(f"gan_weight needs the critic, whose features it reads; got subtract: {self.subtract}")
        return self

    def needs(self) -> Needs:
        judged = Needs()
        if self.gan_weight:
            judged = Needs(generator={"gaussian"}, teacher={"gaussian", "features"}, data={"samples"})
        if self.subtract == "critic":
            return super().needs() | judged
        return Needs(teacher={"gaussian"} if self.subtract == "noise" else {"null_condition"})


class ISMOptions(FieldOptions):
    """Interval score matching: two levels of a deterministic noising, in place of a random one."""

    t_range: TimeRange = Field(
        (0.02, 0.5), description="times t of the upper level, fractions of t_max; either end may be a ramp"
    )
    weight: FieldWeight = Field(
        "x0", description="w(t) of the difference of eps predictions, as in sds; x0 is sigma/alpha"
    )
    interval: Scheduled = Field(
        0.05, description="t - s, as a fraction of t_max; the paper lets it fall from 0.1 to 0.05"
    )
    inversion_steps: int = Field(5, ge=1, description="most steps of the inversion from the sample up to s")
    inversion_stride: float = Field(0.2, gt=0, le=1, description="length of one of them, as a fraction of t_max")

    @field_validator("interval")
    @classmethod
    def _interval(cls, value: Scheduled) -> Scheduled:
        low, high = bounds(value)
        if not 0 < low <= high < 1:
            raise ValueError(f"interval is a fraction of t_max in (0, 1); got {low:g} to {high:g}")
        return value

    def needs(self) -> Needs:
        return Needs(teacher={"null_condition"})


# --- sources ---------------------------------------------------------------------------------------------------------


class DataSourceOptions(Options):
    """Real examples, in an order that is a function of the step."""

    shuffle: bool = Field(True, description="a new permutation every epoch; otherwise the order of the data")


class PriorSourceOptions(Options):
    """Noise and conditions only."""


class _TeacherWalkOptions(Options):
    sampler: str = Field("heun", description="sampler of the teacher (a registry name)")
    steps: int = Field(18, ge=1, description="its steps")


class TrajectorySourceOptions(_TeacherWalkOptions):
    """States of teacher trajectories that start at noise."""


class PairsSourceOptions(_TeacherWalkOptions):
    """Pairs of noise and teacher sample, made once and kept in memory."""

    count: int = Field(4096, ge=1, description="number of pairs")
    chunk: int = Field(256, ge=1, description="pairs generated at a time")
    seed: int = Field(0, ge=0, description="seed of noise and conditions")


class StudentSourceOptions(Options):
    """Samples of the current student."""

    steps: int = Field(1, ge=1, description="calls of the student")
