r"""Interval score matching: a field without injected noise, Liang et al. 2024 (LucidDreamer).

The sample is noised by the teacher itself, deterministically (DDIM run upwards), to a level s and by one more step to
t; the field compares the teacher's predictions at the two levels. Related fields (trajectory and classifier score
matching) differ only in which levels are compared, `_field`.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Generator, Loss, Phase, Prediction, Teacher
from limbeck.networks.guidance import unguided
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.scheduled import value_at
from limbeck_diffusion.formulas.fields import field_weight, weighted
from limbeck_diffusion.formulas.solvers import noise_along
from limbeck_diffusion.formulas.times import uniform_time
from limbeck_diffusion.objectives.finite import checked
from limbeck_diffusion.objectives.matching.fields import FieldObjective, range_at
from limbeck_diffusion.options.matching import ISMOptions


class ISM(FieldObjective):
    """G_x = w(t) (eps_G(x_t, t, cond) - eps_null(x_s, s)) at two levels s < t of one deterministic noising.

    The noising starts at the sample itself, free of noise, in equal steps up to s, and is unconditional: as many steps
    as `inversion.stride` needs for the largest s of the moment, `inversion.steps` at most. Given the sample, only t is
    random.

    Roles: generator. Draws: those of a sample (`FieldObjective`); t.
    """

    name = "ism"
    Options = ISMOptions
    options: ISMOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        super().setup(generator, teacher, **named)
        if not isinstance(self.teacher.process, GaussianProcess):
            raise TypeError(f"ism needs a teacher on a Gaussian process; got {self.teacher.process!r}")
        self.process: GaussianProcess = self.teacher.process

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        sample = self.student_sample(phase, batch, rng, grad=self.options.rollout.gradient)
        with torch.no_grad():
            field, explain = self._field(sample.at.detach(), batch.cond, rng)
        return replace(self.field_loss(sample, field, batch, rng, sample.at[0].numel()), explain=explain)

    def _field(self, x: Tensor, cond: Any, rng: Rng) -> tuple[Tensor, Callable[[], None] | None]:
        """The field, and what explains it when it is not finite."""
        options, inversion = self.options, self.options.inversion
        process, interval = self.process, value_at(inversion.interval, rng.step) * self.process.t_max
        low, high = range_at(options.times.range, rng.step)
        t = uniform_time(process, rng, len(x), (low, high))
        s = (t - interval).clamp_min(0)
        highest = high - interval / process.t_max
        steps = min(inversion.steps, max(1, math.ceil(highest / inversion.stride - 1e-9)))
        xs = self._inverted(x, s, cond, steps)
        eps_s = self._unconditional(xs, s, cond)
        xt = noise_along(process, xs, s, t, eps_s)
        prediction: Prediction = self.teacher(xt, t, cond)
        explain = checked(self.teacher, prediction, t)
        assert prediction.x0_hat is not None
        eps_t = process.convert(prediction.x0_hat, "x0", "eps", xt, t)
        # w(t) = field_weight sigma_t / alpha_t: `field_weight` multiplies differences of x0 predictions
        c = process.coefficients(t)
        scale = field_weight(process, t, options.field.weight) * c.sigma_t / c.alpha_t
        return weighted(eps_t - eps_s, scale), explain

    def _inverted(self, x: Tensor, s: Tensor, cond: Any, steps: int) -> Tensor:
        """x_s, from the sample at level 0 through s / steps, 2 s / steps, ... The first step needs no prediction:
        the noise of a clean sample is none."""
        here = s / steps
        xs = noise_along(self.process, x, torch.zeros_like(s), here, torch.zeros_like(x))
        for k in range(2, steps + 1):
            above = s * (k / steps)
            xs = noise_along(self.process, xs, here, above, self._unconditional(xs, here, cond))
            here = above
        return xs

    def _unconditional(self, xt: Tensor, t: Tensor, cond: Any) -> Tensor:
        """eps_hat of the teacher without its condition, (B, *event)."""
        teacher = unguided(self.teacher)
        prediction = teacher(xt, t, teacher.null(cond))
        checked(teacher, prediction, t)  # what is not checked at once shows in the teacher's next prediction
        assert prediction.x0_hat is not None
        return self.process.convert(prediction.x0_hat, "x0", "eps", xt, t)


__all__ = ["ISM"]
