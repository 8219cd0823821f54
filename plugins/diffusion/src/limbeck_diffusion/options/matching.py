"""Options of distribution matching and score distillation. Pydantic, no torch.

One model for the whole family: published methods are rows of defaults (`limbeck_diffusion.manifest.matching`).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.manifest import Needs
from limbeck.options import Options
from limbeck.scheduled import Scheduled, bounds
from limbeck_diffusion.options.common import CATEGORICAL, GAUSSIAN, ErrorKind, UniformTimes
from limbeck_diffusion.options.rollouts import ChunkedRollout, FewStepRollout

FieldWeight = Literal["x0", "sds", "uniform", "fantasia3d", "placid_dreamer"]


# --- the field -------------------------------------------------------------------------------------------------------


class FieldBlock(Options):
    """The vector field that a sample is moved against."""

    weight: Annotated[FieldWeight, GAUSSIAN] = Field(
        "x0",
        description="w(t) of w (eps_p - eps_q): sds sigma^2, uniform 1, fantasia3d alpha sigma^2, placid_dreamer "
        "alpha, x0 sigma/alpha, which makes it the difference of x0 predictions (DMD, ISM, HiFA)",
    )
    reduction: Literal["mean", "sum"] | None = Field(
        None,
        description="of the field over a sample's elements: mean, sum as papers on scenes have it, or null: mean for "
        "networks and sum for scenes, whose penalties are weighed against a sum",
    )
    clip: Scheduled | None = Field(None, description="limit of the field; may be a ramp")
    clip_by: Literal["element", "pixel"] = Field(
        "element", description="what is limited: every element, or every pixel's norm over its channels"
    )

    @field_validator("clip")
    @classmethod
    def _limit(cls, value: Scheduled | None) -> Scheduled | None:
        if value is not None and bounds(value)[0] <= 0:
            raise ValueError(f"clip limits the field and must be positive; got {bounds(value)[0]:g}")
        return value


class DifferenceField(FieldBlock):
    """The difference of two predictions."""

    subtract: Literal["critic", "noise", "null"] = Field(
        "critic",
        description="what stands for the student's distribution: a critic, the injected noise (sds), the unconditional "
        "teacher (csd)",
    )
    normalise: Annotated[Literal["sample", "frame"] | None, GAUSSIAN] = Field(
        "sample",
        description="divide by the mean distance of sample and teacher prediction (DMD Eq. 8), over the whole sample "
        "or over each frame of a clip (axis 1); null: do not. Not on tokens",
    )
    divergence: Annotated[Literal["forward_kl", "reverse_kl"], CATEGORICAL] = Field(
        "forward_kl", description="tokens: whose gradient in the logits is the field, KL(p || q) or KL(q || p) (Di[M]O)"
    )


# --- critic and discriminator ----------------------------------------------------------------------------------------


class CriticLoRA(Options):
    """Low-rank adapters on the teacher's weights, in place of a full copy."""

    rank: int = Field(8, ge=1, description="rank of the update")
    alpha: float = Field(16.0, gt=0, description="its scale is alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the adapters")
    targets: tuple[str, ...] | None = Field(None, description="names of the adapted layers; None: the model's own")


class CriticBlock(Options):
    """The online model of the student's distribution, and how it is trained."""

    updates: int = Field(5, ge=1, description="critic updates per generator update")
    times: UniformTimes = Field(UniformTimes(), description="times at which the critic is trained")
    loss: Annotated[ErrorKind, GAUSSIAN] = Field(
        "velocity", description="the prediction whose squared error trains the critic"
    )
    weight: Annotated[Literal["plain", "elbo"], CATEGORICAL] = Field(
        "plain",
        description="tokens: cross entropy of the critic, a plain mean over masked tokens or the bound's weight",
    )
    init: Literal["teacher", "generator"] = Field(
        "teacher", description="what the critic starts from; generator: for a teacher that cannot be copied"
    )
    lora: CriticLoRA | None = Field(
        None, description="train adapters on the teacher's weights instead of a full copy of them"
    )


class DiscriminatorBlock(Options):
    """A head on the critic's features that tells noised samples from noised data."""

    weight: Annotated[float, GAUSSIAN] = Field(
        0.0, ge=0, description="weight of the discriminator in the generator's loss; 0: none"
    )
    critic_weight: Annotated[float, GAUSSIAN] = Field(
        0.01, ge=0, description="weight of the discriminator's loss beside the critic's"
    )
    features: Annotated[tuple[int, ...], GAUSSIAN] = Field(
        (-1,), description="which features of the critic the discriminator reads"
    )


# --- objectives ------------------------------------------------------------------------------------------------------

Rollout = Annotated[FewStepRollout | ChunkedRollout, Field(discriminator="kind")]


class MatchingOptions(Options):
    """Move samples against the difference of two predictions: DMD2; by other defaults SDS, CSD, VSD, Self Forcing."""

    times: UniformTimes = Field(UniformTimes(), description="times of the field")
    field: DifferenceField = Field(DifferenceField(), description="the field that samples are moved against")
    rollout: Rollout = Field(FewStepRollout(), description="how the student's samples are made")
    critic: CriticBlock = Field(CriticBlock(), description="the online model of the student's distribution")
    discriminator: DiscriminatorBlock = Field(DiscriminatorBlock(), description="a discriminator beside the critic")

    @model_validator(mode="after")
    def _one_critic(self) -> Self:
        subtract = self.field.subtract
        if subtract == "critic":
            return self
        if self.discriminator.weight:
            raise ValueError(
                f"discriminator.weight needs the critic, whose features it reads; got field.subtract: {subtract}"
            )
        if self.critic != type(self).model_fields["critic"].default:
            raise ValueError(
                f"critic means nothing with field.subtract: {subtract}, which trains none. Leave the block out, or use "
                "field.subtract: critic"
            )
        return self

    def needs(self) -> Needs:
        made = self.rollout.needs()
        if self.discriminator.weight:
            made |= Needs(generator={"gaussian"}, teacher={"gaussian", "features"}, data={"samples"})
        match self.field.subtract:
            case "critic":
                return made | (Needs(teacher={"trainable_copy"}) if self.critic.init == "teacher" else Needs())
            case "noise":
                return made | Needs(teacher={"gaussian"})
            case "null":
                return made | Needs(teacher={"null_condition"})


class Inversion(Options):
    """The deterministic noising of interval score matching."""

    interval: Scheduled = Field(
        0.05, description="t - s, as a fraction of t_max; the paper lets it fall from 0.1 to 0.05"
    )
    steps: int = Field(5, ge=1, description="most steps of the inversion from the sample up to s")
    stride: float = Field(0.2, gt=0, le=1, description="length of one of them, as a fraction of t_max")

    @field_validator("interval")
    @classmethod
    def _interval(cls, value: Scheduled) -> Scheduled:
        low, high = bounds(value)
        if not 0 < low <= high < 1:
            raise ValueError(f"interval is a fraction of t_max in (0, 1); got {low:g} to {high:g}")
        return value


class ISMOptions(Options):
    """Interval score matching: two levels of a deterministic noising, in place of a random one."""

    times: UniformTimes = Field(UniformTimes(range=(0.02, 0.5)), description="times t of the upper level")
    field: FieldBlock = Field(FieldBlock(reduction="sum"), description="the field that samples are moved against")
    rollout: Rollout = Field(FewStepRollout(), description="how the student's samples are made")
    inversion: Inversion = Field(Inversion(), description="how the teacher noises a sample")

    def needs(self) -> Needs:
        return self.rollout.needs() | Needs(teacher={"null_condition"})


__all__ = ["CriticLoRA", "ISMOptions", "MatchingOptions"]
