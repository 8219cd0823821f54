"""Pretraining: teachers are trained by the same engine as students. No objective here needs a teacher."""

from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Batch, Generator, Loss, Phase, Predictor, Teacher, average, unwrap
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.times import draw_time
from limbeck_diffusion.formulas.weights import error_weight, weighted_error
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.options.pretraining import DenoisingOptions


def drop_condition(predictor: Predictor, cond: Any, chance: float, rng: Rng) -> Any:
    """Replace every row's condition by the null condition with this chance (draw: uniform "dropout")."""
    if chance == 0 or cond is None:
        return cond
    dropped = rng.uniform("dropout", (len(cond),)) < chance
    return conditions.where(dropped, predictor.null(cond), cond)


class Denoising(StudentObjective):
    """E w(t) || x0_hat(x_t, t) - x0 ||^2 under a distribution of t, w the error of x0, eps, v, velocity, or EDM's
    (Karras et al. 2022, Eq. 2). With the velocity it is flow matching, || velocity_hat - velocity ||^2, Lipman et al.
    2023, and on stored pairs rectified flow's reflow (Liu et al. 2023).

    Draws: t, eps, dropout.
    """

    name = "flow_matching"
    Options = DenoisingOptions
    options: DenoisingOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        spec = unwrap(generator)
        assert isinstance(spec, Predictor) and isinstance(spec.process, GaussianProcess)
        self.process = spec.process
        self.add_role("generator", generator)

    def sampling(self) -> dict[str, Any]:
        return {"use": "heun", "steps": 18}

    def times(self, x0: Tensor, rng: Rng) -> Tensor:
        """(B,), or (B, F) with a time per frame. Draws: t."""
        o = self.options.times
        return draw_time(self.process, rng, len(x0), o.kind, o.mean, o.std, o.range)

    def weight(self, t: Tensor) -> Tensor:
        """w(t), the shape of t."""
        return error_weight(self.process, t, self.options.error, self.options.sigma_data)

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        o = self.options
        if batch.x0 is None:
            raise ValueError(f"{self.name} regresses on clean samples, but the source yields none: use data or pairs")
        network = self.network("generator", phase)
        spec: Any = unwrap(network)
        x0 = batch.x0
        t = self.times(x0, rng).to(x0.device)
        if batch.noise is None:
            eps = rng.normal("eps", x0.shape, x0.dtype).to(x0.device)
        else:  # stored pairs: their coupling is what reflow learns from
            eps = batch.noise / self.process.prior_std
        cond = drop_condition(spec, batch.cond, o.label_dropout, rng)
        x0_hat = network(self.process.add_noise(x0, eps, t), t, cond).x0_hat
        loss = average(weighted_error(x0_hat, x0, self.weight(t)), batch.weight)
        return Loss(loss, {"x0_error": average(weighted_error(x0_hat, x0, torch.ones_like(t)), batch.weight).detach()})


__all__ = ["Denoising", "drop_condition"]
