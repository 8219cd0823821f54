"""Regression on stored pairs of noise and teacher sample."""

from typing import Any

import torch

from limbeck.interfaces import (
    Batch,
    Generator,
    Loss,
    Phase,
    Predictor,
    Teacher,
    average,
    unwrap,
)
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.distances import distance, l2
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.options.regression import ODEPairsOptions


class ODEPairs(StudentObjective):
    """dist(x0_hat(noise, t_max), sample) on stored pairs, Luhman & Luhman 2021. Nothing random is drawn."""

    Options = ODEPairsOptions
    options: ODEPairsOptions
    default_source = "pairs"

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        spec = unwrap(generator)
        assert isinstance(spec, Predictor) and isinstance(spec.process, GaussianProcess)
        self.process = spec.process
        theirs: Any = None if teacher is None else teacher.process
        if theirs is not None and theirs.prior_std != self.process.prior_std:
            raise ValueError(
                f"ode_pairs feeds the teacher's noise to the generator, but the teacher's has standard deviation "
                f"{theirs.prior_std:g} and the generator's {self.process.prior_std:g}. Use the same process."
            )
        self.distance = distance(self.options.metric.distance, self.options.metric.huber_c)
        self.add_role("generator", generator)

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        if batch.noise is None or batch.x0 is None:
            raise ValueError(
                "ode_pairs regresses samples on the noise they came from, but the source yields none: use pairs"
            )
        t = torch.full((len(batch.noise),), self.process.t_max, device=batch.noise.device)
        x0_hat = self.network("generator", phase)(batch.noise, t, batch.cond).x0_hat
        return Loss(
            average(self.distance(x0_hat, batch.x0), batch.weight),
            {"residual": average(l2(x0_hat.detach(), batch.x0), batch.weight)},
        )


__all__ = ["ODEPairs"]
