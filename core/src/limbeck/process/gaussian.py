r"""Gaussian processes: how data is corrupted, and every conversion between the kinds of prediction.

    x_t = alpha_t x0 + sigma_t eps,      t = 0 is data, t = t_max is noise

| quantity   | in terms of x0, eps                     |
|------------|-----------------------------------------|
| `velocity` | `d_alpha_t x0 + d_sigma_t eps`          |
| `v`        | `alpha_t eps - sigma_t x0`              |
| `score`    | `-eps_hat / sigma_t`                    |

`v` and `velocity` are equal only on the trigonometric path. Conversions are exact algebra; they are singular only where
the quantity carries no information: eps and score at sigma_t = 0 (returned as 0, the limit of consistent input), and x0
from eps or score at alpha_t = 0 (returned as nan: pure noise has no information about x0, and the engine catches nan).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from limbeck.options import ProcessName
from limbeck.randomness import Rng

Kind = Literal["x0", "eps", "v", "velocity", "score"]
KINDS: tuple[Kind, ...] = ("x0", "eps", "v", "velocity", "score")
Spacing = Literal["uniform", "log_snr", "karras"]
Chart = Literal["native", "angle"]


class Coefficients(NamedTuple):
    alpha_t: Tensor
    sigma_t: Tensor
    d_alpha_t: Tensor
    d_sigma_t: Tensor


def align(t: Tensor, x: Tensor) -> Tensor:
    """Append singleton axes to t, (B,) or (B, F), so that it broadcasts against x, (B, *event)."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim))


def _divide(numerator: Tensor, denominator: Tensor, at_zero: float) -> Tensor:
    zero = denominator == 0
    return torch.where(zero, at_zero, numerator / torch.where(zero, 1.0, denominator))


@dataclass(frozen=True)
class GaussianProcess(ABC):
    """A schedule (alpha_t, sigma_t) with its derivatives, its inverse, and all conversions."""

    @property
    @abstractmethod
    def t_max(self) -> float: ...

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """alpha_t, sigma_t and their derivatives in t, each the shape and dtype of t."""

    @abstractmethod
    def time(self, sigma_edm: Tensor) -> Tensor:
        """The time at which sigma_t / alpha_t equals `sigma_edm`; the inverse of `sigma_edm`."""

    # --- what a process prefers: solvers, grids and distributions of t depend on these, never on its class ---

    @property
    def spacing(self) -> Spacing:
        """How `limbeck.process.grids.time_grid` spaces times for this process where nobody chooses."""
        return "uniform"

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Lowest and highest noise level sigma_t / alpha_t of grids in that level (`log_snr`, `karras`); (0.002, 80) as
        in Karras et al. 2022, Tab. 1."""
        return 0.002, 80.0

    @property
    def native_chart(self) -> Chart:
        """The coordinates in which solvers of the ODE go straight: `native`, x against t with slope velocity; `angle`,
        x / sqrt(alpha_t^2 + sigma_t^2) against atan(sigma_t / alpha_t), for velocities that are infinite at t = 0."""
        return "native"

    def shifted(self, share: Tensor) -> Tensor:
        """Shares t / t_max in [0, 1] of uniform grids and of distributions of t, moved towards noise or data by a
        monotone map that keeps 0 and 1. Any shape; the identity by default."""
        return share

    def with_shift(self, shift: float) -> "GaussianProcess":
        """The same path with another `shift`, which `shifted` follows. ValueError for a process without one."""
        raise ValueError(f"shift spaces the times of a rectified flow, and this is {self}. Give times instead")

    # --- derived quantities ---

    def at(self, t: Tensor, x: Tensor) -> Coefficients:
        """Coefficients broadcast against x: computed in t's precision (float32 or better), returned in x's."""
        t = t.to(torch.promote_types(t.dtype, torch.float32))
        return Coefficients(*(align(c, x).to(x.dtype) for c in self.coefficients(t)))

    def sigma_edm(self, t: Tensor) -> Tensor:
        c = self.coefficients(t)
        return c.sigma_t / c.alpha_t

    def log_snr(self, t: Tensor) -> Tensor:
        """2 log(alpha_t / sigma_t)."""
        c = self.coefficients(t)
        return 2 * (c.alpha_t.log() - c.sigma_t.log())

    def half_log_snr(self, t: Tensor) -> Tensor:
        return self.log_snr(t) / 2

    @property
    def prior_std(self) -> float:
        """Standard deviation of the noise at t_max; samplers start from `prior_sample`."""
        return float(self.coefficients(torch.tensor(self.t_max, dtype=torch.float64)).sigma_t)

    # --- corrupting ---

    def prior_sample(self, shape: Sequence[int], rng: Rng, purpose: str = "noise") -> Tensor:
        """x at t_max, (B, *event): prior_std times normal `purpose`."""
        return self.prior_std * rng.normal(purpose, shape)

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha_t x0 + sigma_t eps. x0, eps (B, *event); t (B,) or (B, F)."""
        c = self.at(t, x0)
        return c.alpha_t * x0 + c.sigma_t * eps

    def noise_further(self, xs: Tensor, s: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        r"""From x_s to a noisier x_t, s < t: alpha_{t|s} x_s + sigma_{t|s} eps with alpha_{t|s} = alpha_t / alpha_s and
        sigma_{t|s}^2 = sigma_t^2 - alpha_{t|s}^2 sigma_s^2."""
        a, b = self.at(s, xs), self.at(t, xs)
        ratio = b.alpha_t / a.alpha_t
        variance = b.sigma_t**2 - (ratio * a.sigma_t) ** 2
        return ratio * xs + variance.clamp_min(0).sqrt() * eps

    # --- from one kind of prediction to another ---

    def convert(self, value: Tensor, given: Kind, wanted: Kind, xt: Tensor, t: Tensor) -> Tensor:
        """Turn a prediction of one kind into another at (xt, t). value, xt (B, *event)."""
        if given == wanted:
            return value
        c = self.at(t, xt)
        if {given, wanted} == {"eps", "score"}:
            return _divide(-value, c.sigma_t, 0.0) if wanted == "score" else -c.sigma_t * value
        match given:
            case "x0":
                x0 = value
            case "eps":
                x0 = _divide(xt - c.sigma_t * value, c.alpha_t, math.nan)
            case "score":
                x0 = _divide(xt + c.sigma_t**2 * value, c.alpha_t, math.nan)
            case "v":
                x0 = (c.alpha_t * xt - c.sigma_t * value) / (c.alpha_t**2 + c.sigma_t**2)
            case "velocity":
                x0 = (c.d_sigma_t * xt - c.sigma_t * value) / (c.d_sigma_t * c.alpha_t - c.sigma_t * c.d_alpha_t)
            case _:
                raise ValueError(f"unknown prediction {given!r}; allowed: {', '.join(KINDS)}")
        if wanted == "x0":
            return x0
        # eps exactly as it was given wherever that was possible: through x0 it would lose digits at small sigma_t.
        match given:
            case "score":
                eps = -c.sigma_t * value
            case "eps":
                eps = value
            case "v":
                eps = (c.sigma_t * xt + c.alpha_t * value) / (c.alpha_t**2 + c.sigma_t**2)
            case "velocity":
                eps = (c.alpha_t * value - c.d_alpha_t * xt) / (c.d_sigma_t * c.alpha_t - c.sigma_t * c.d_alpha_t)
            case _:
                eps = _divide(xt - c.alpha_t * value, c.sigma_t, 0.0)
        match wanted:
            case "eps":
                return eps
            case "score":
                return _divide(-eps, c.sigma_t, 0.0)
            case "v":
                return c.alpha_t * eps - c.sigma_t * x0
            case "velocity":
                return c.d_alpha_t * x0 + c.d_sigma_t * eps
        raise ValueError(f"unknown prediction {wanted!r}; allowed: {', '.join(KINDS)}")

    def ddim(self, xt: Tensor, t: Tensor, s: Tensor, x0_hat: Tensor) -> Tensor:
        r"""One deterministic step from t to s with x0_hat held fixed, Song et al. 2021 (DDIM), Eq. 12:
        x_s = (sigma_s / sigma_t) x_t + (alpha_s - (sigma_s / sigma_t) alpha_t) x0_hat; finite at alpha_t = 0."""
        a, b = self.at(t, xt), self.at(s, xt)
        ratio = b.sigma_t / a.sigma_t
        return ratio * xt + (b.alpha_t - ratio * a.alpha_t) * x0_hat

    # --- moving to another schedule ---

    def to(self, other: "GaussianProcess", xt: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The same state in another process: sigma/alpha fixes the time, x is rescaled; x0 and eps predictions carry
        over unchanged. Returns (x, time) in `other`."""
        time = other.time(self.sigma_edm(t))
        return xt * other.at(time, xt).alpha_t / self.at(t, xt).alpha_t, time


@dataclass(frozen=True)
class RectifiedFlow(GaussianProcess):
    """alpha_t = 1 - t, sigma_t = t. `shift` s warps grids and distributions of t, t' = s t / (1 + (s - 1) t), not the
    path; Esser et al. 2024 (SD3), Eq. 23."""

    shift: float = 1.0

    t_max = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        one = torch.ones_like(t)
        return Coefficients(1 - t, t, -one, one)

    def time(self, sigma_edm: Tensor) -> Tensor:
        # sigma / (1 + sigma), written so that sigma = inf gives 1
        return 1 - 1 / (1 + sigma_edm)

    def shifted(self, share: Tensor) -> Tensor:
        return self.shift * share / (1 + (self.shift - 1) * share)

    def with_shift(self, shift: float) -> "RectifiedFlow":
        return replace(self, shift=shift)


@dataclass(frozen=True)
class VP(GaussianProcess):
    """Variance preserving with linear beta(t) = beta_min + t (beta_max - beta_min), Song et al. 2021 (SDE), App. B."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    t_max = 1.0
    native_chart = "angle"

    def _half_integral(self, t: Tensor) -> Tensor:
        """-log alpha_t = 1/2 int_0^t beta."""
        return 0.5 * t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def coefficients(self, t: Tensor) -> Coefficients:
        half = self._half_integral(t)
        beta = self.beta_min + t * (self.beta_max - self.beta_min)
        alpha_t = torch.exp(-half)
        sigma_t = torch.sqrt(-torch.expm1(-2 * half))
        return Coefficients(
            alpha_t, sigma_t, -0.5 * beta * alpha_t, _divide(0.5 * beta * alpha_t**2, sigma_t, math.inf)
        )

    def time(self, sigma_edm: Tensor) -> Tensor:
        half = 0.5 * torch.log1p(sigma_edm**2)  # = 1/2 int beta; positive root of the quadratic, without cancellation
        slope = self.beta_max - self.beta_min
        return 4 * half / (self.beta_min + torch.sqrt(self.beta_min**2 + 4 * slope * half))


@dataclass(frozen=True)
class VPCosine(GaussianProcess):
    """alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2)."""

    t_max = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        angle = 0.5 * math.pi * t
        cos, sin = torch.cos(angle).clamp_min(0), torch.sin(angle)  # the float32 next to pi / 2 lies beyond it
        return Coefficients(cos, sin, -0.5 * math.pi * sin, 0.5 * math.pi * cos)

    def time(self, sigma_edm: Tensor) -> Tensor:
        return torch.atan(sigma_edm) * (2 / math.pi)


@dataclass(frozen=True)
class EDM(GaussianProcess):
    """alpha_t = 1, sigma_t = t up to sigma_max, Karras et al. 2022."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    spacing = "karras"

    @property
    def t_max(self) -> float:
        return self.sigma_max

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def coefficients(self, t: Tensor) -> Coefficients:
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        return Coefficients(one, t, zero, one)

    def time(self, sigma_edm: Tensor) -> Tensor:
        return sigma_edm


@dataclass(frozen=True)
class TrigFlow(GaussianProcess):
    """alpha_t = cos t, sigma_t = sigma_data sin t, t in [0, pi/2]; Lu & Song 2024 (sCM), Sec. 3."""

    sigma_data: float = 1.0

    t_max = math.pi / 2

    def coefficients(self, t: Tensor) -> Coefficients:
        cos, sin = torch.cos(t).clamp_min(0), torch.sin(t)  # the float32 next to pi / 2 lies beyond it
        return Coefficients(cos, self.sigma_data * sin, -sin, self.sigma_data * cos)

    def time(self, sigma_edm: Tensor) -> Tensor:
        return torch.atan(sigma_edm / self.sigma_data)


def process_named(name: ProcessName, *, shift: float = 1.0, sigma_data: float = 1.0) -> GaussianProcess:
    """A process by the name that recipes use. `shift` is rectified flow's, `sigma_data` TrigFlow's; others have
    neither."""
    match name:
        case "rectified_flow":
            return RectifiedFlow(shift=shift)
        case "trigflow":
            return TrigFlow(sigma_data=sigma_data)
        case "edm":
            return EDM()
        case "vp":
            return VP()
        case "vp_cosine":
            return VPCosine()
    raise ValueError(f"unknown process {name!r}; allowed: {', '.join(get_args(ProcessName))}")
