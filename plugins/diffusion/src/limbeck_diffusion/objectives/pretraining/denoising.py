"""Pretraining: teachers are trained by the same engine as students. No objective here needs a teacher."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Predictor, Teacher, average, unwrap
from limbeck.manifest import Needs
from limbeck.process.gaussian import GaussianProcess, align
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.times import draw_time
from limbeck_diffusion.formulas.weights import error_weight
from limbeck_diffusion.options.base import DenoisingOptions, FlowMatchingOptions


def weighted_error(x0_hat: Tensor, x0: Tensor, weight: Tensor) -> Tensor:
    """mean_event w(t) (x0_hat - x0)^2: x0_hat, x0 (B, *event), weight (B,) or (B, F); returns (B,)."""
    return (align(weight, x0).to(x0.dtype) * (x0_hat - x0).square()).flatten(1).mean(1)


def drop_condition(predictor: Predictor, cond: Any, chance: float, rng: Rng) -> Any:
    """Replace every row's condition by the null condition with this chance (draw: uniform "dropout")."""
    if chance == 0 or cond is None:
        return cond
    dropped = rng.uniform("dropout", (len(cond),)) < chance
    return conditions.where(dropped, predictor.null(cond), cond)


class Regression(Objective):
    """One role, one phase: E || x0_hat(x_t, t) - x0 ||^2 under a law of t and a weight."""

    needs = Needs(generator={"gaussian", "denoiser"}, data={"samples"})
    options: Any

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        spec = unwrap(generator)
        assert isinstance(spec, Predictor)
        self.process: GaussianProcess = spec.process
        self.add_role("generator", generator)

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def sampling(self) -> dict[str, Any]:
        return {"use": "heun", "steps": 18}

    def times(self, x0: Tensor, rng: Rng) -> Tensor:
        """(B,), or (B, F) with a time per frame. Draws: t."""
        o = self.options
        return draw_time(self.process, rng, len(x0), o.time, o.time_mean, o.time_std, o.t_range)

    def weight(self, t: Tensor) -> Tensor:
        """w(t), the shape of t."""
        raise NotImplementedError

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        o = self.options
        if batch.x0 is None:
            raise ValueError(
                f"{type(self).__name__} regresses on clean samples, but the source yields none: use data or pairs"
            )
        network = self.network("generator", phase)
        x0 = batch.x0
        t = self.times(x0, rng).to(x0.device)
        if batch.noise is None:
            eps = rng.normal("eps", x0.shape, x0.dtype).to(x0.device)
        else:  # stored pairs: their coupling is what reflow learns from
            eps = batch.noise / self.process.prior_std
        cond = drop_condition(unwrap(network), batch.cond, o.label_dropout, rng)
        x0_hat = network(self.process.add_noise(x0, eps, t), t, cond).x0_hat
        loss = average(weighted_error(x0_hat, x0, self.weight(t)), batch.weight)
        return Loss(loss, {"x0_error": average(weighted_error(x0_hat, x0, torch.ones_like(t)), batch.weight).detach()})


class FlowMatching(Regression):
    """|| velocity_hat - velocity ||^2, Lipman et al. 2023; on stored pairs, rectified flow's reflow (Liu et al. 2023).

    Draws: t, eps, dropout.
    """

    Options = FlowMatchingOptions

    def weight(self, t: Tensor) -> Tensor:
        return error_weight(self.process, t, "velocity")


class Denoising(Regression):
    """Denoising score matching with the error of x0, eps, v, velocity, or EDM's weight (Karras et al. 2022, Eq. 2).

    Draws: t, eps, dropout.
    """

    Options = DenoisingOptions

    def weight(self, t: Tensor) -> Tensor:
        return error_weight(self.process, t, self.options.error, self.options.sigma_data)
