"""Distillation by energy distance: draws of the student beside draws of the teacher; nothing but the student trains."""

import torch
from torch import Tensor

from acme_distill.options import EnergyDistanceOptions
from limbeck import Batch, Loss, Needs, Objective, Phase, Plan, Rng, conditions, rollout
from limbeck.interfaces import average


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'|, Szekely & Rizzo 2013, Eq. 1.1; zero only when both distributions are equal.

    Args:
        x, y: draws of the two distributions, (B, M, D), M >= 2; the draws of a row share its condition.

    Returns:
        The unbiased estimate of every row, (B,); it may come out slightly negative.
    """
    draws = x.shape[1]
    pairs = draws * (draws - 1)
    between = torch.cdist(x, y).mean((1, 2))
    within_x = torch.cdist(x, x).sum((1, 2)) / pairs  # the diagonal is zero and is not counted
    within_y = torch.cdist(y, y).sum((1, 2)) / pairs
    return 2 * between - within_x - within_y


class EnergyDistance(Objective):
    """`draws` one-step samples of the student against as many of the teacher for every row, from different noise.

    Draws: noise, teacher_noise.
    """

    Options = EnergyDistanceOptions
    needs = Needs(generator={"gaussian", "denoiser", "sampling"}, teacher={"gaussian", "denoiser"})
    default_source = "prior"

    def setup(self, generator, teacher=None, **named):
        self.teacher = teacher
        self.one_step = Plan.uniform(generator.process, 1)
        self.walk = Plan.uniform(teacher.process, self.options.teacher_steps, transition="ddim")
        self.add_role("generator", generator)

    def phases(self, step: int) -> list[Phase]:
        return [Phase("generator", ("generator",))]

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        student = self._draw(self.network("generator", phase), self.one_step, batch, rng, "noise", grad="last")
        teacher = self._draw(self.teacher, self.walk, batch, rng, "teacher_noise", grad="none")
        distance = average(energy_distance(student, teacher), batch.weight)
        return Loss(distance, {"energy_distance": distance.detach()})

    def _draw(self, model, plan: Plan, batch: Batch, rng: Rng, purpose: str, grad) -> Tensor:
        """`draws` samples for every row, (B, M, D)."""
        rows, draws, space = len(batch), self.options.draws, self.teacher.space
        noise = self.teacher.process.prior_std * rng.normal(purpose, (rows, draws, *space.event)).flatten(0, 1)
        cond = conditions.rows(batch.cond, torch.arange(rows).repeat_interleave(draws))
        return rollout(model, cond, plan=plan, rng=rng, grad=grad, noise=noise).at.reshape(rows, draws, -1)
