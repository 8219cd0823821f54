"""Few-step generation with a gradient policy. Core calls `generator.forward` as often as the plan says."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Sample, Teacher, unwrap
from limbeck.processes import GaussianProcess
from limbeck.randomness import Rng


@dataclass(frozen=True)
class Plan:
    """At which times the generator is called, and how one call leads to the next.

    times: t_1 > t_2 > ... > t_n, the input time of each call.
    transition: `renoise` (x_{k+1} = alpha x0_hat + sigma eps', consistency and DMD2), `ddim` (deterministic step with
        x0_hat fixed) or `jump` (the flow map itself answers x at the next time).
    exit: `last` runs all calls; `random` leaves after a call drawn uniformly, one for the whole global batch
        (backward simulation, Yin et al. 2024, Sec. 4.5).
    """

    times: tuple[float, ...]
    transition: Literal["renoise", "ddim", "jump"] = "renoise"
    exit: Literal["last", "random"] = "last"

    def __post_init__(self):
        if not self.times or any(a <= b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"plan times must fall strictly, from noise to data; got {self.times}")

    @staticmethod
    def uniform(process: GaussianProcess, steps: int, **options) -> "Plan":
        """`steps` calls at t_max * (1, (n-1)/n, ..., 1/n), shifted when the process says so."""
        from limbeck.processes import time_grid

        return Plan(tuple(float(t) for t in time_grid(process, steps)[:-1]), **options)


def prior_noise(process: GaussianProcess, shape: tuple[int, ...], rng: Rng, purpose: str = "noise") -> Tensor:
    """A draw of x at t_max: prior_std * normal, (B, *event)."""
    return process.prior_std * rng.normal(purpose, shape)


def rollout(
    generator: nn.Module,
    cond: Any,
    *,
    plan: Plan,
    rng: Rng,
    batch_size: int | None = None,
    grad: Literal["last", "all", "none"] = "last",
    noise: Tensor | None = None,
) -> Sample:
    """Run the plan. Gradient flows through the last call made (`last`), every call (`all`) or none.

    Args:
        generator: a `Predictor` (or a teacher) on a Gaussian process, possibly wrapped for DDP.
        cond: conditions of B rows, or None (then pass batch_size).
        noise: x at the first time, (B, *event), instead of a draw named "noise".

    Returns:
        Sample whose value is x0_hat of the last call, (B, *event).
    """
    spec = unwrap(generator)
    if not isinstance(spec, Teacher):
        raise TypeError(f"a rollout calls a Predictor, (xt, t, cond) -> Prediction; got {type(spec).__name__}")
    process = spec.process
    assert isinstance(process, GaussianProcess), "rollouts walk Gaussian processes; none is needed yet on others"
    if noise is None:
        if batch_size is None and cond is None:
            raise ValueError("how many samples? Pass cond, batch_size or noise")
        rows = batch_size if batch_size is not None else len(cond)
        noise = prior_noise(process, (rows, *spec.space.event), rng)
    last = len(plan.times) - 1
    if plan.exit == "random":
        last = rng.shared_integer("exit", len(plan.times))
    x, x0_hat = noise, noise
    for k in range(last + 1):
        t = torch.full(x.shape[:1], plan.times[k], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        learns = grad == "all" or (grad == "last" and k == last)
        following = plan.times[k + 1] if k < last else 0.0
        s = torch.full_like(t, following)
        with nullcontext() if learns else torch.no_grad():
            asks = {"s": s} if plan.transition == "jump" else {}
            out = generator(x, t, cond, **asks)
            x0_hat = out.x0_hat
            if k == last:
                break
            if plan.transition == "renoise":
                x = process.add_noise(x0_hat, rng.normal(f"renoise/{k}", x0_hat.shape, x0_hat.dtype), s)
            elif plan.transition == "ddim":
                x = process.ddim(x, t, s, x0_hat)
            else:
                x = out.xs
    value = out.xs if plan.transition == "jump" else x0_hat
    return Sample(value=value, at=value, t_from=plan.times[last], t_to=0.0, evaluations=last + 1)
