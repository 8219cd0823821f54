"""Distillation by energy distance: samples of the student beside samples of the teacher, and nothing to train but the
student."""

import torch
from torch import Tensor

from acme_distill.options import EnergyDistanceOptions
from limbeck import Batch, Loss, Needs, Objective, Phase, Plan, Rng
from limbeck.rollout import rollout


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'|, Szekely & Rizzo 2013, Eq. 1.1; zero only when both laws are equal.

    Args:
        x: samples of one law, (N, D); gradients flow into them.
        y: samples of the other, (M, D).

    Returns:
        The unbiased estimate, (); it may come out slightly negative.
    """
    n, m = len(x), len(y)
    between = torch.cdist(x, y).mean()
    within_x = torch.cdist(x, x).sum() / (n * (n - 1))  # the diagonal is zero and is not counted
    within_y = torch.cdist(y, y).sum() / (m * (m - 1))
    return 2 * between - within_x - within_y


class EnergyDistance(Objective):
    """One step of the student against `teacher_steps` DDIM steps of the teacher, from different noise."""

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
        size = len(batch)
        generator = self.network("generator", phase)
        student = rollout(generator, batch.cond, plan=self.one_step, rng=rng, batch_size=size, noise=batch.noise)
        with torch.no_grad():
            shape = (size, *self.teacher.space.event)
            noise = self.teacher.process.prior_std * rng.normal("teacher_noise", shape)
            teacher = rollout(self.teacher, batch.cond, plan=self.walk, rng=rng, grad="none", noise=noise)
        distance = energy_distance(student.at.flatten(1), teacher.value.flatten(1))
        return Loss(distance, {"energy_distance": distance.detach()})
