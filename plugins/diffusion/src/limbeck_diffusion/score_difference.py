"""Distribution matching with a learned critic: one class, of which published methods are presets.

The student's samples are noised; the teacher says where clean data would be (D_p), a critic trained on the student's
own samples says where its samples would be (D_q), and the sample is moved against D_q - D_p.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Predictor, Sample, Teacher, average
from limbeck.manifest import Needs
from limbeck.processes import GaussianProcess
from limbeck.randomness import Rng
from limbeck.rollouts import Plan, rollout
from limbeck_diffusion.discriminator import FeatureHead
from limbeck_diffusion.distribution import (
    discriminator_loss,
    dmd_normaliser,
    injection_loss,
    non_saturating_loss,
    score_difference,
)
from limbeck_diffusion.options import DMD2Options
from limbeck_diffusion.times import uniform_time
from limbeck_diffusion.weights import error_weight


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


class DMD2(Objective):
    """Distribution matching distillation with a two-time-scale critic, Yin et al. 2024 (DMD2).

    Per step: `critic_updates` turns of the critic on the student's samples, then one of the generator. With
    `gan_weight` a discriminator on critic features compares noised samples with noised real data (Sec. 4.3). With
    `steps` > 1 the student's input is its own rollout, left after a random call (backward simulation, Sec. 4.5).

    Roles: generator, critic. Draws: noise, exit, renoise/k (rollout); t, eps (field and critic); gan_t, gan_eps,
    real_t, real_eps (discriminator).
    """

    Options = DMD2Options
    needs = Needs(generator={"gaussian", "denoiser", "sampling"}, teacher={"gaussian", "denoiser"})

    @property
    def default_source(self) -> str:  # type: ignore[override]
        return "data" if self.options.gan_weight else "prior"

    def sampling(self) -> dict[str, Any]:
        return {"use": "multistep", "steps": self.options.steps}

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        options = self.options
        if teacher is None:
            raise ValueError(
                "dmd2 needs a teacher, got None. Pass one to setup, or add a `teacher:` block to the recipe."
            )
        if not isinstance(generator, Predictor):
            raise TypeError(
                f"dmd2 rolls its generator out, so it must be a limbeck.Predictor; got {type(generator).__name__}. "
                "Wrap a raw network with limbeck.Denoiser."
            )
        self.teacher = teacher
        self.process: GaussianProcess = teacher.process
        if generator.process != teacher.process:
            raise ValueError(
                f"dmd2 compares both models at one noise level, but the generator lives on {generator.process} and the "
                f"teacher on {teacher.process}. Give the generator the teacher's process (init: teacher)."
            )
        self.plan = Plan.uniform(self.process, options.steps, exit=options.exit if options.steps > 1 else "last")
        origin = teacher if options.critic_init == "teacher" else generator
        predictor = origin.trainable_copy("full")
        head = None
        if options.gan_weight:
            head = FeatureHead(_feature_channels(predictor, options.gan_features))
        self.add_role("generator", generator)
        self.add_role("critic", Critic(predictor, options.gan_features if head else (), head))

    def phases(self, step: int) -> list[Phase]:
        n = self.options.critic_updates
        return [*(Phase("critic", ("critic",), k, n) for k in range(n)), Phase("generator", ("generator",))]

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        return (
            self._critic_loss(phase, batch, rng) if phase.name == "critic" else self._generator_loss(phase, batch, rng)
        )

    # --- the two players ---

    def _generator_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        options = self.options
        sample = self._roll(phase, batch, rng, grad="last")
        critic = self.network("critic", phase)
        xt, t, _ = self._noised(sample.at, rng, options.t_range)
        with torch.no_grad():
            real = self.teacher(xt, t, batch.cond).x0_hat
            fake = critic(xt, t, batch.cond).x0_hat
            field = score_difference(real, fake)
            if options.normalise:
                field = field * dmd_normaliser(sample.at, real).to(field.dtype)
        loss = average(injection_loss(sample.at, field), batch.weight)
        terms = {"field": field.detach().abs().mean()}
        if options.gan_weight:
            noised, gan_t, _ = self._noised(sample.at, rng, (0.0, 1.0), "gan_")
            adversarial = average(non_saturating_loss(critic(noised, gan_t, batch.cond, judge=True)), batch.weight)
            loss = loss + options.gan_weight * adversarial
            terms["adversarial"] = adversarial.detach()
        return Loss(loss, terms)

    def _critic_loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        options = self.options
        x0 = self._roll(phase, batch, rng, grad="none").value.detach()
        critic = self.network("critic", phase)
        xt, t, eps = self._noised(x0, rng, options.critic_t_range)
        error = (critic(xt, t, batch.cond).x0_hat - x0).square().flatten(1).mean(1)
        loss = average(error_weight(self.process, t, options.critic_loss) * error, batch.weight)
        terms = {"denoising": loss.detach()}
        if options.gan_weight:
            if batch.x0 is None:
                raise ValueError(
                    "dmd2 with a discriminator compares with real samples, but the source yields none: use data"
                )
            fake, fake_t, _ = self._noised(x0, rng, (0.0, 1.0), "gan_")
            real, real_t, _ = self._noised(batch.x0, rng, (0.0, 1.0), "real_")
            both = torch.cat([real, fake]), torch.cat([real_t, fake_t]), _twice(batch.cond)
            judged = discriminator_loss(*critic(*both, judge=True).chunk(2))
            discriminator = average(judged, batch.weight)
            loss = loss + options.critic_gan_weight * discriminator
            terms["discriminator"] = discriminator.detach()
        return Loss(loss, terms)

    def _roll(self, phase: Phase, batch: Batch, rng: Rng, grad) -> Sample:
        return rollout(
            self.network("generator", phase),
            batch.cond,
            plan=self.plan,
            rng=rng,
            batch_size=len(batch),
            grad=grad,
            noise=batch.noise,
        )

    def _noised(
        self, x0: Tensor, rng: Rng, t_range: tuple[float, float], prefix: str = ""
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x0 at a random time: (xt, t, eps)."""
        t = uniform_time(self.process, rng, len(x0), t_range, purpose=f"{prefix}t")
        eps = rng.normal(f"{prefix}eps", x0.shape, x0.dtype)
        return self.process.add_noise(x0, eps, t), t, eps


def _twice(cond: Any) -> Any:
    return torch.cat([cond, cond]) if isinstance(cond, Tensor) else cond if cond is None else [*cond, *cond]


def _feature_channels(predictor: Predictor, layers: Sequence[int]) -> list[int]:
    """Channels of the feature maps, by one call on a zero sample with the null condition's shape."""
    like = next(predictor.parameters())
    x = torch.zeros(1, *predictor.space.event, device=like.device, dtype=like.dtype)
    t = torch.full((1,), 0.5 * predictor.process.t_max, device=like.device)
    with torch.no_grad():
        maps = predictor(x, t, None, features=tuple(layers)).features
    return [m.shape[1] for m in maps]
