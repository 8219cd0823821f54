r"""Samplers: from noise to data along the probability-flow ODE dx/dt = velocity(x, t), or a stochastic relative of it.

They need x0_hat of a predictor only, so every one works on every Gaussian process. One step of each is a pure function
`(predict, process, x, t, s) -> x_s` with `predict(x, t) -> x0_hat`, x (B, *event) and float64 times t, s (B,); all
coefficients are computed in float64 and cast last. A step to s = 0 returns x0_hat, the solver's own end on rectified
flow and EDM; at t = t_max, where rectified flow and TrigFlow have alpha_t = 0, no division by alpha_t takes place.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limbeck.interfaces import Sample, Sampler, Teacher, unwrap
from limbeck.process.gaussian import GaussianProcess, align
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan, rollout
from limbeck_diffusion.options.samplers import (
    EDMStochasticOptions,
    GridOptions,
    MultistepDPMOptions,
    MultistepOptions,
    ODEOptions,
)

Predict = Callable[[Tensor, Tensor], Tensor]
LARGEST_SIGMA = 1000.0  # a noise level above this at t_max (infinite on rectified flow) is no start for a sigma grid


def x0_predictor(predictor: Teacher, cond: Any) -> Predict:
    """`predict(x, t) -> x0_hat` of a predictor: float64 times are rounded once, to x's precision or float32."""

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return predictor(x, t.to(torch.promote_types(x.dtype, torch.float32)), cond).x0_hat

    return predict


def _combine(x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> Tensor:
    """a x + b y with per-sample float64 coefficients (B,) cast to x's precision."""
    return align(a, x).to(x.dtype) * x + align(b, y).to(x.dtype) * y


# --- one step --------------------------------------------------------------------------------------------------------


def ddim_coefficients(process: GaussianProcess, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """x_s = a x_t + b x0_hat, a = sigma_s / sigma_t, b = alpha_s - a alpha_t, (B,); Song et al. 2021 (DDIM), Eq. 12."""
    at_t, at_s = process.coefficients(t), process.coefficients(s)
    a = at_s.sigma_t / at_t.sigma_t
    return a, at_s.alpha_t - a * at_t.alpha_t


def ddim_step(predict: Predict, process: GaussianProcess, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """First order, exact for constant x0_hat. It is Euler in sigma_t / alpha_t, and DPM-Solver++ of order 1."""
    a, b = ddim_coefficients(process, t, s)
    return _combine(x, a, predict(x, t), b)


class Chart(NamedTuple):
    """Coordinates in which a solver goes straight: y = x / scale moves as dy/dclock = p x0 + q eps. All (B,)."""

    clock: Tensor
    scale: Tensor
    p: Tensor
    q: Tensor


def native(process: GaussianProcess, t: Tensor) -> Chart:
    """The process as it is: clock t, slope = velocity."""
    c = process.coefficients(t)
    return Chart(t, torch.ones_like(t), c.d_alpha_t, c.d_sigma_t)


def angle(process: GaussianProcess, t: Tensor) -> Chart:
    """The trigonometric path through the same states: clock atan(sigma / alpha); slope finite everywhere."""
    c = process.coefficients(t)
    scale = torch.hypot(c.alpha_t, c.sigma_t)
    return Chart(torch.atan2(c.sigma_t, c.alpha_t), scale, -c.sigma_t / scale, c.alpha_t / scale)


CHARTS = {"native": native, "angle": angle}


def chart_of(process: GaussianProcess, name: str | None) -> Callable[[GaussianProcess, Tensor], Chart]:
    """The chart of that name; by default the one that the process prefers."""
    return CHARTS[name or process.native_chart]


def _slope(process: GaussianProcess, at: Chart, t: Tensor, x: Tensor, x0_hat: Tensor) -> Tensor:
    """p x0_hat + q eps_hat with eps_hat = (x - alpha_t x0_hat) / sigma_t; (B, *event)."""
    c = process.coefficients(t)
    q = at.q / c.sigma_t
    return _combine(x, q, x0_hat, at.p - q * c.alpha_t)


def euler_step(
    predict: Predict, process: GaussianProcess, x: Tensor, t: Tensor, s: Tensor, *, chart: str | None = None
) -> Tensor:
    """y_s = y_t + (clock_s - clock_t) slope, in `chart`. First order."""
    here, there = (chart_of(process, chart)(process, time) for time in (t, s))
    x0_hat = predict(x, t)
    slope = _slope(process, here, t, x, x0_hat)
    xs = _combine(x, there.scale / here.scale, slope, there.scale * (there.clock - here.clock))
    return torch.where(align(s == 0, x), x0_hat, xs)


def heun_step(
    predict: Predict, process: GaussianProcess, x: Tensor, t: Tensor, s: Tensor, *, chart: str | None = None
) -> Tensor:
    """Euler to s, then again with the mean of both slopes; Karras et al. 2022, Alg. 1, in `chart`. Second order, two
    evaluations; rows with s = 0 return the first x0_hat, as Euler does."""
    here, there = (chart_of(process, chart)(process, time) for time in (t, s))
    x0_hat = predict(x, t)
    slope = _slope(process, here, t, x, x0_hat)
    scale, width = there.scale / here.scale, there.scale * (there.clock - here.clock)
    xs = _combine(x, scale, slope, width)
    landed = s == 0
    safe = torch.where(landed, t, s)  # any time at which the slope is finite; those rows are replaced below
    again = _slope(process, chart_of(process, chart)(process, safe), safe, xs, predict(xs, safe))
    return torch.where(align(landed, x), x0_hat, _combine(x, scale, 0.5 * (slope + again), width))


STEPS: dict[str, Callable[..., Tensor]] = {"euler": euler_step, "heun": heun_step, "ddim": ddim_step}


# --- whole walks -----------------------------------------------------------------------------------------------------


class GridSampler(Sampler, ABC):
    """A walk over a falling grid of times that ends at 0. Subclasses lead from one time to the next (`path`)."""

    Options: type[GridOptions] = GridOptions

    def __init__(self, **options: Any):
        self.options: Any = self.Options(**options)

    def grid(self, process: GaussianProcess, steps: int) -> Tensor:
        """Times t_max = t_0 > ... > t_steps = 0, (steps + 1,), float64."""
        o = self.options
        spacing = o.spacing or process.spacing
        return time_grid(process, steps, spacing, rho=o.rho, sigma_range=(o.sigma_min, _largest_sigma(process, o)))

    @abstractmethod
    def path(self, predict: Predict, process: GaussianProcess, x: Tensor, times: Tensor, rng: Rng) -> Iterator[Tensor]:
        """x at times[1], times[2], ..., each (B, *event), from x at times[0]."""

    def states(
        self, predictor: Teacher, cond: Any, *, steps: int, rng: Rng, noise: Tensor
    ) -> Iterator[tuple[Tensor, float]]:
        """Every state (x_t, t) of the walk, noise first, sample last. Each is computed when it is taken."""
        process: Any = unwrap(predictor).process
        times = self.grid(process, steps)
        path = self.path(x0_predictor(predictor, cond), process, noise, times, rng)
        yield noise, float(times[0])
        for t in times[1:].tolist():
            with torch.no_grad():
                x = next(path)
            yield x, t

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        (_, before), (x, t) = deque(self.states(predictor, cond, steps=steps, rng=rng, noise=x), maxlen=2)
        return Sample(value=x, at=x, t_from=before, t_to=t, evaluations=self.evaluations(steps))


def _largest_sigma(process: GaussianProcess, options: GridOptions) -> float:
    if options.sigma_max is not None:
        return options.sigma_max
    first = float(process.sigma_edm(torch.tensor(process.t_max, dtype=torch.float64)))
    return first if first <= LARGEST_SIGMA else process.sigma_range[1]


def _rows(times: Tensor, x: Tensor) -> list[Tensor]:
    """Every time of a grid as (B,), float64, beside x."""
    return list(times.to(x.device).unsqueeze(1).expand(-1, len(x)))


class Euler(GridSampler):
    """Straight steps along the velocity. One evaluation per step, order 1."""

    Options = ODEOptions

    def path(self, predict, process, x, times, rng):
        t = _rows(times, x)
        for i in range(len(times) - 1):
            x = euler_step(predict, process, x, t[i], t[i + 1], chart=self.options.chart)
            yield x


class Heun(GridSampler):
    """The trapezoidal rule; Karras et al. 2022, Alg. 1. 2 n - 1 evaluations for n steps, order 2."""

    Options = ODEOptions

    def path(self, predict, process, x, times, rng):
        t = _rows(times, x)
        for i in range(len(times) - 1):
            landing = times[i + 1] == 0  # Euler's step: the slope at t = 0 need not exist
            x = (euler_step if landing else heun_step)(predict, process, x, t[i], t[i + 1], chart=self.options.chart)
            yield x

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1


class DDIM(GridSampler):
    """Deterministic DDIM: x0_hat held fixed over every step. One evaluation per step, order 1."""

    def path(self, predict, process, x, times, rng):
        t = _rows(times, x)
        for i in range(len(times) - 1):
            x = ddim_step(predict, process, x, t[i], t[i + 1])
            yield x


def second_order_x0(x0_hat: Tensor, previous: Tensor, h: float, h_previous: float) -> Tensor:
    r"""x0_hat extrapolated to the middle of a step, Lu et al. 2022 (DPM-Solver++), Alg. 2: with r = h_previous / h,
    (1 + 1/(2r)) x0_hat - 1/(2r) previous; h are steps in half log SNR. An infinite h_previous (from alpha_t = 0) gives
    order 1."""
    k = 0.5 * h / h_previous
    return x0_hat + k * (x0_hat - previous)


class DPMSolverPP2M(GridSampler):
    """DPM-Solver++(2M), Lu et al. 2022, Alg. 2. One evaluation per step, order 2; first and last step are DDIM's."""

    Options = MultistepDPMOptions

    def path(self, predict, process, x, times, rng):
        t, half = _rows(times, x), process.half_log_snr(times).tolist()
        previous: Tensor | None = None
        last = len(times) - 2
        for i in range(len(times) - 1):
            x0_hat = predict(x, t[i])
            guess = x0_hat
            if self.options.order == 2 and previous is not None and not (i == last and times[-1] == 0):
                guess = second_order_x0(x0_hat, previous, half[i + 1] - half[i], half[i] - half[i - 1])
            a, b = ddim_coefficients(process, t[i], t[i + 1])
            x = _combine(x, a, guess, b)
            previous = x0_hat
            yield x


class EDMStochastic(GridSampler):
    """Heun with churn in the EDM frame x / alpha_t; Karras et al. 2022, Alg. 2. 2 n - 1 evaluations, order 2 unchurned.

    It runs on any process by moving every state there and back (`GaussianProcess.time`). Where sigma_t / alpha_t is
    infinite at t_max the walk starts at `sigma_max` (80), with the given noise at that level; churn never raises the
    noise above that of the start. Spacing: karras unless an option chooses another. Draws: churn/i.
    """

    Options = EDMStochasticOptions

    def grid(self, process: GaussianProcess, steps: int) -> Tensor:
        o = self.options
        highest = _largest_sigma(process, o)
        start = min(process.t_max, float(process.time(torch.tensor(highest, dtype=torch.float64))))
        return time_grid(
            process, steps, o.spacing or "karras", t_max=start, rho=o.rho, sigma_range=(o.sigma_min, highest)
        )

    def path(self, predict, process, x, times, rng):
        o = self.options
        sigmas = process.sigma_edm(times).tolist()
        steps = len(times) - 1
        x_edm = x * (sigmas[0] / process.prior_std)

        def denoise(y: Tensor, sigma: float) -> Tensor:
            time = process.time(torch.full((len(y),), sigma, dtype=torch.float64, device=y.device))
            alpha_t = process.coefficients(time).alpha_t
            return predict(align(alpha_t, y).to(y.dtype) * y, time)

        for i, (sigma, following) in enumerate(pairwise(sigmas)):
            gamma = min(o.s_churn / steps, math.sqrt(2) - 1) if o.s_min <= sigma <= o.s_max else 0.0
            raised = min(sigma * (1 + gamma), sigmas[0])
            if raised > sigma:
                eps = o.s_noise * rng.normal(f"churn/{i}", x_edm.shape, x_edm.dtype)
                x_edm = x_edm + math.sqrt(raised**2 - sigma**2) * eps.to(x_edm.device)
            slope = (x_edm - denoise(x_edm, raised)) / raised
            landed = x_edm + (following - raised) * slope
            if following > 0:
                again = (landed - denoise(landed, following)) / following
                landed = x_edm + (following - raised) * 0.5 * (slope + again)
            x_edm = landed
            alpha_t = float(process.coefficients(times[i + 1]).alpha_t)
            yield alpha_t * x_edm

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1


class Multistep(Sampler):
    """Few calls of a student: x0_hat, noised again to the next time, and so on; Song et al. 2023 (consistency), Alg. 1.

    Draws: renoise/k. The times are those that DMD2 trains its multi-step students at.
    """

    Options = MultistepOptions

    def __init__(self, **options: Any):
        self.options = self.Options(**options)

    def plan(self, process: GaussianProcess, steps: int) -> Plan:
        o = self.options
        if o.times is None:
            return Plan.uniform(process, steps, transition=o.transition)
        if len(o.times) != steps:
            raise ValueError(f"sampling.times gives {len(o.times)} calls, but steps is {steps}; make them agree")
        if o.times[0] > process.t_max:
            raise ValueError(f"sampling.times starts at {o.times[0]:g}, above t_max={process.t_max:g} of {process}")
        return Plan(tuple(o.times), transition=o.transition)

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        process: Any = unwrap(predictor).process
        return rollout(predictor, cond, plan=self.plan(process, steps), rng=rng, grad="none", noise=x)
