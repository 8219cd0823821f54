"""Score differences: one class, of which published methods are presets.

The student's samples are noised; the teacher predicts where clean data would be (D_p), something that stands for the
student's own distribution predicts where its samples would be (D_q), and the sample is moved against D_q - D_p. What
stands for the student's distribution makes the method: a critic trained on its samples (DMD2, VSD, Di[M]O), the noise
just injected (SDS), or the unconditional teacher (CSD).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.interfaces import Batch, Generator, Loss, Phase, Prediction, Predictor, Teacher, average
from limbeck.networks.guidance import Guided, both, unguided
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.fields import discriminator_loss, non_saturating_loss
from limbeck_diffusion.networks.discriminator import FeatureHead
from limbeck_diffusion.objectives.finite import checked
from limbeck_diffusion.objectives.matching.differences import difference_of
from limbeck_diffusion.objectives.matching.fields import FieldObjective, range_at
from limbeck_diffusion.objectives.process_ops import Noised, ops_of
from limbeck_diffusion.options.matching import MatchingOptions


class Critic(nn.Module):
    """The online model of the student's distribution, with the discriminator head that reads its features.

    One module and one forward, so that DDP and FSDP2 can wrap it: `forward(xt, t, cond)` returns a Prediction;
    with `judge=True` logits (B,).
    """

    def __init__(self, predictor: Predictor, features: Sequence[int] = (), head: FeatureHead | None = None):
        super().__init__()
        self.predictor, self.features, self.head = predictor, tuple(features), head

    def forward(self, xt: Tensor, t: Tensor, cond: Any = None, *, judge: bool = False):
        if not judge:
            return self.predictor(xt, t, cond)
        assert self.head is not None
        return self.head(self.predictor(xt, t, cond, features=self.features).features)


class ScoreDifference(FieldObjective):
    """Move samples against D_q - D_p; `field.subtract` names what D_q is.

    Per step: `critic.updates` updates of the critic on the student's samples, if there is one, then one of the
    generator. Its defaults are distribution matching distillation with a two-time-scale critic, Yin et al. 2024 (DMD2);
    on tokens Di[M]O, Zhu et al. 2025. With `discriminator.weight` a discriminator on critic features compares
    noised samples with noised real data (Sec. 4.3). With `rollout.steps` > 1 the student's input is its own rollout,
    left after a random call (backward simulation, Sec. 4.5). Other methods are rows of defaults in
    `limbeck_diffusion.manifest.matching`.

    Roles: generator, critic. Draws: those of the rollout; t, eps (field and critic); gan_t, gan_eps, real_t, real_eps
    (discriminator).
    """

    name = "dmd2"
    Options = MatchingOptions
    options: MatchingOptions

    @property
    def default_source(self) -> str:  # type: ignore[override]
        return "data" if self.options.discriminator.weight else "prior"

    @property
    def _has_critic(self) -> bool:
        return self.options.field.subtract == "critic"

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        super().setup(generator, teacher, **named)
        self.ops = ops_of(self.teacher.process, self.options, self.name)
        self.difference = difference_of(self.ops, self.options)
        if self._has_critic:
            self.add_role("critic", self._new_critic(generator))

    def _new_critic(self, generator: Generator) -> Critic:
        options = self.options.critic
        if options.init == "teacher":
            origin: Any = self.teacher
        elif isinstance(generator, Predictor):
            origin = generator
        else:
            raise ValueError(
                f"{self.name}: critic.init is 'generator', but a {type(generator).__name__} is no network to copy. Use "
                "critic.init: teacher"
            )
        if options.lora is None:
            predictor = origin.trainable_copy("full")
        else:
            predictor = origin.trainable_copy("lora", **options.lora.model_dump())
        features = self.options.discriminator.features if self.options.discriminator.weight else ()
        head = FeatureHead(_feature_channels(predictor, features)) if features else None
        return Critic(predictor, features, head)

    def phases(self, step: int) -> list[Phase]:
        n = self.options.critic.updates if self._has_critic else 0
        return [*(Phase("critic", ("critic",), k, n) for k in range(n)), Phase("generator", ("generator",))]

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        return (
            self._critic_loss(phase, batch, rng) if phase.name == "critic" else self._generator_loss(phase, batch, rng)
        )

    # --- the two players ---

    def _generator_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        sample = self.student_sample(phase, batch, rng, grad=self.options.rollout.gradient)
        critic = self.network("critic", phase) if self._has_critic else None
        with torch.no_grad():
            noised = self.ops.noised(sample.value.detach(), rng, range_at(self.options.times.range, rng.step))
            real, fake = self._compared(noised, batch.cond, critic)
            explain = checked(self.teacher, real, noised.t)
            field = self.difference.field(sample, noised, real, fake)
        moved = self.field_loss(sample, field, batch, rng, self.ops.reduction_size(sample.at))
        weight = self.options.discriminator.weight
        if not weight:
            return replace(moved, explain=explain)
        judged = self.ops.noised(sample.at, rng, (0.0, 1.0), "gan_")
        logits = critic(judged.xt, judged.t, batch.cond, judge=True)  # type: ignore[misc]
        adversarial = average(non_saturating_loss(logits), batch.weight)
        terms = {**moved.terms, "adversarial": adversarial.detach()}
        return Loss(moved.value + weight * adversarial, terms, explain=explain)

    def _compared(self, noised: Noised, cond: Any, critic: Any) -> tuple[Prediction, Prediction | None]:
        """What the teacher predicts, and what stands for the student's distribution (None: the injected noise)."""
        xt, t = noised.xt, noised.t
        if self.options.field.subtract != "null":
            return self.teacher(xt, t, cond), None if critic is None else critic(xt, t, cond)
        conditional, unconditional = both(unguided(self.teacher), xt, t, cond)
        if isinstance(self.teacher, Guided):
            return self.teacher.mix(conditional, unconditional, t), unconditional
        return conditional, unconditional

    def _critic_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        options = self.options
        x0 = self.student_sample(phase, batch, rng, grad="none").value.detach()
        critic = self.network("critic", phase)
        noised = self.ops.noised(x0, rng, range_at(options.critic.times.range, rng.step))
        error = self.difference.critic_error(critic(noised.xt, noised.t, batch.cond), x0, noised)
        loss = average(error, batch.weight)
        terms = {"denoising": loss.detach()}
        if options.discriminator.weight:
            if batch.x0 is None:
                raise ValueError(
                    f"{self.name} with a discriminator compares with real samples, but the source yields none: use data"
                )
            fake = self.ops.noised(x0, rng, (0.0, 1.0), "gan_")
            real = self.ops.noised(batch.x0, rng, (0.0, 1.0), "real_")
            twice = torch.cat([real.xt, fake.xt]), torch.cat([real.t, fake.t]), conditions.cat(batch.cond, batch.cond)
            judged = discriminator_loss(*critic(*twice, judge=True).chunk(2))
            discriminator = average(judged, batch.weight)
            loss = loss + options.discriminator.critic_weight * discriminator
            terms["discriminator"] = discriminator.detach()
        return Loss(loss, terms)


def _feature_channels(predictor: Predictor, layers: Sequence[int]) -> list[int]:
    """Channels of the feature maps, by one call on a zero sample with the null condition's shape."""
    like = next(predictor.parameters())
    x = torch.zeros(1, *predictor.space.event, device=like.device, dtype=like.dtype)
    t = torch.full((1,), 0.5 * predictor.process.t_max, device=like.device)
    with torch.no_grad():
        maps = predictor(x, t, None, features=tuple(layers)).features
    return [m.shape[1] for m in maps]


__all__ = ["Critic", "ScoreDifference"]
