"""Score differences: one class, of which published methods are presets.

The student's samples are noised; the teacher says where clean data would be (D_p), something that stands for the
student's own law says where its samples would be (D_q), and the sample is moved against D_q - D_p. What stands for the
student's law makes the method: a critic trained on its samples (DMD2, VSD, Di[M]O), the noise just injected (SDS), or
the unconditional teacher (CSD).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.interfaces import Batch, Generator, Loss, Phase, Prediction, Predictor, Teacher, average
from limbeck.manifest import Needs
from limbeck.networks.guidance import Guided, both, unguided
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.fields import discriminator_loss, non_saturating_loss
from limbeck_diffusion.networks.discriminator import FeatureHead
from limbeck_diffusion.objectives.matching.fields import FieldObjective, range_at
from limbeck_diffusion.objectives.matching.kernels import Noised, checked, kernel_of
from limbeck_diffusion.options.base import CSDOptions, DMD2Options, SDSOptions, VSDOptions


class Critic(nn.Module):
    """The online model of the student's law, with the discriminator head that reads its features.

    One module and one forward, so that DDP and FSDP2 can wrap it: `forward(xt, t, cond)` answers a Prediction;
    with `judge=True` it answers logits (B,).
    """

    def __init__(self, predictor: Predictor, features: Sequence[int] = (), head: FeatureHead | None = None):
        super().__init__()
        self.predictor, self.features, self.head = predictor, tuple(features), head

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, judge: bool = False):
        if not judge:
            return self.predictor(xt, t, cond)
        return self.head(self.predictor(xt, t, cond, features=self.features).features)


class ScoreDifference(FieldObjective):
    """Move samples against D_q - D_p; options `subtract` says whose D_q.

    Per step: `critic_updates` turns of the critic on the student's samples, if there is one, then one of the generator.

    Roles: generator, critic. Draws: those of a sample (`FieldObjective`); t, eps (field and critic); gan_t, gan_eps,
    real_t, real_eps (discriminator).
    """

    name = "dmd2"
    subtract: str | None = None  # fixed by a preset; None: the option

    def _option(self, name: str, otherwise: Any) -> Any:
        """An option that only some presets have."""
        return getattr(self.options, name, otherwise)

    @property
    def _subtracted(self) -> str:
        return self.subtract or self.options.subtract

    @property
    def default_source(self) -> str:  # type: ignore[override]
        return "data" if self._option("gan_weight", 0.0) else "prior"

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        options: Any = self.options
        super().setup(generator, teacher, **named)
        gaussian = {
            "weight": options.weight,
            "normalise": self._option("normalise", False),
            "per_frame": self._option("normalise_by", "sample") == "frame",
        }
        categorical = {}
        if self._subtracted == "critic":
            gaussian["critic_loss"] = options.critic_loss
            categorical["critic_weight"] = self._option("critic_weight", "plain")
            categorical["divergence"] = self._option("divergence", "forward_kl")
        self.kernel = kernel_of(self.teacher.process, gaussian=gaussian, categorical=categorical)
        if self._subtracted == "critic":
            self.add_role("critic", self._new_critic(generator))

    def _new_critic(self, generator: Generator) -> Critic:
        options: Any = self.options
        if options.critic_init == "teacher":
            origin: Any = self.teacher
        elif isinstance(generator, Predictor):
            origin = generator
        else:
            raise ValueError(
                f"{self.name}: critic_init is 'generator', but a {type(generator).__name__} is no network to copy. Use "
                "critic_init: teacher"
            )
        if options.critic_lora is None:
            predictor = origin.trainable_copy("full")
        else:
            predictor = origin.trainable_copy("lora", **options.critic_lora.model_dump())
        features = self._option("gan_features", ()) if self._option("gan_weight", 0.0) else ()
        head = FeatureHead(_feature_channels(predictor, features)) if features else None
        return Critic(predictor, features, head)

    def phases(self, step: int) -> list[Phase]:
        n = self.options.critic_updates if self._subtracted == "critic" else 0
        return [*(Phase("critic", ("critic",), k, n) for k in range(n)), Phase("generator", ("generator",))]

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        return (
            self._critic_loss(phase, batch, rng) if phase.name == "critic" else self._generator_loss(phase, batch, rng)
        )

    # --- the two players ---

    def _generator_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        sample = self.student_sample(phase, batch, rng, grad=self.options.gradient)
        critic = self.network("critic", phase) if self._subtracted == "critic" else None
        with torch.no_grad():
            noised = self.kernel.noised(sample.value.detach(), rng, range_at(self.options.t_range, rng.step))
            real, fake = self._compared(noised, batch.cond, critic)
            explain = checked(self.teacher, real, noised.t)
            field = self.kernel.field(sample, noised, real, fake)
        moved = self.field_loss(sample, field, batch, rng, self.kernel.reduction_size(sample.at))
        weight = self._option("gan_weight", 0.0)
        if not weight:
            return replace(moved, explain=explain)
        judged = self.kernel.noised(sample.at, rng, (0.0, 1.0), "gan_")
        logits = critic(judged.xt, judged.t, batch.cond, judge=True)  # type: ignore[misc]
        adversarial = average(non_saturating_loss(logits), batch.weight)
        terms = {**moved.terms, "adversarial": adversarial.detach()}
        return Loss(moved.value + weight * adversarial, terms, explain=explain)

    def _compared(self, noised: Noised, cond: Any, critic: Any) -> tuple[Prediction, Prediction | None]:
        """What the teacher predicts, and what stands for the student's law (None: the injected noise)."""
        xt, t = noised.xt, noised.t
        if self._subtracted != "null":
            return self.teacher(xt, t, cond), None if critic is None else critic(xt, t, cond)
        conditional, unconditional = both(unguided(self.teacher), xt, t, cond)
        if isinstance(self.teacher, Guided):
            return self.teacher.mix(conditional, unconditional, t), unconditional
        return conditional, unconditional

    def _critic_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        options: Any = self.options
        x0 = self.student_sample(phase, batch, rng, grad="none").value.detach()
        critic = self.network("critic", phase)
        noised = self.kernel.noised(x0, rng, range_at(options.critic_t_range, rng.step))
        error = self.kernel.critic_error(critic(noised.xt, noised.t, batch.cond), x0, noised)
        loss = average(error, batch.weight)
        terms = {"denoising": loss.detach()}
        if self._option("gan_weight", 0.0):
            if batch.x0 is None:
                raise ValueError(
                    f"{self.name} with a discriminator compares with real samples, but the source yields none: use data"
                )
            fake = self.kernel.noised(x0, rng, (0.0, 1.0), "gan_")
            real = self.kernel.noised(batch.x0, rng, (0.0, 1.0), "real_")
            twice = torch.cat([real.xt, fake.xt]), torch.cat([real.t, fake.t]), conditions.cat(batch.cond, batch.cond)
            judged = discriminator_loss(*critic(*twice, judge=True).chunk(2))
            discriminator = average(judged, batch.weight)
            loss = loss + options.critic_gan_weight * discriminator
            terms["discriminator"] = discriminator.detach()
        return Loss(loss, terms)


class DMD2(ScoreDifference):
    """Distribution matching distillation with a two-time-scale critic, Yin et al. 2024 (DMD2); on tokens Di[M]O, Zhu et
    al. 2025.

    With `gan_weight` a discriminator on critic features compares noised samples with noised real data (Sec. 4.3). With
    `steps` > 1 the student's input is its own rollout, left after a random call (backward simulation, Sec. 4.5).
    """

    Options = DMD2Options
    needs = Needs(generator={"sampling"}, teacher={"denoiser"})


class SDS(ScoreDifference):
    """Score distillation sampling, Poole et al. 2023 (DreamFusion): w(t) (eps_p - eps). No critic."""

    name, subtract = "sds", "noise"
    Options = SDSOptions
    needs = Needs(generator={"sampling"}, teacher={"gaussian", "denoiser"})


class CSD(ScoreDifference):
    """Classifier score distillation, Yu et al. 2024: w(t) (eps_p - eps_null). With guidance G the field is G times that
    of the unguided teacher."""

    name, subtract = "csd", "null"
    Options = CSDOptions
    needs = Needs(generator={"sampling"}, teacher={"gaussian", "denoiser"})


class VSD(ScoreDifference):
    """Variational score distillation, Wang et al. 2023 (ProlificDreamer): w(t) (eps_p - eps_critic), the critic trained
    on renders of all particles."""

    name, subtract = "vsd", "critic"
    Options = VSDOptions
    needs = Needs(generator={"sampling"}, teacher={"gaussian", "denoiser"})


def _feature_channels(predictor: Predictor, layers: Sequence[int]) -> list[int]:
    """Channels of the feature maps, by one call on a zero sample with the null condition's shape."""
    like = next(predictor.parameters())
    x = torch.zeros(1, *predictor.space.event, device=like.device, dtype=like.dtype)
    t = torch.full((1,), 0.5 * predictor.process.t_max, device=like.device)
    with torch.no_grad():
        maps = predictor(x, t, None, features=tuple(layers)).features
    return [m.shape[1] for m in maps]
