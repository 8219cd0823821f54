"""Distributions of the training time t, drawn by name so that a quadrature can take the place of the draw.

All return times in (0, t_max]: (B,) for a `count` B, (B, F) for (B, F), one per frame. A process may shift
those in t (`GaussianProcess.shifted`: rectified flow does); that of sigma is absolute.
"""

import math

import torch
from torch import Tensor

from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng

Count = int | tuple[int, ...]


def level_count(x0: Tensor, levels: str, chunk: int = 1) -> Count:
    """How many times a batch of clips (B, F, ...) needs: one per `clip` (B), per `frame` or per `chunk` (B, n)."""
    rows, *event = x0.shape
    return rows if levels == "clip" else (rows, event[0] // (chunk if levels == "chunk" else 1))


def to_frames(t: Tensor, x0: Tensor) -> Tensor:
    """Times (B, n) of equal parts of the frames as (B, F); (B,) as they are."""
    return t if t.ndim == 1 else t.repeat_interleave(x0.shape[1] // t.shape[1], 1)


def _shape(count: Count) -> tuple[int, ...]:
    return count if isinstance(count, tuple) else (count,)


def uniform_time(
    process: GaussianProcess, rng: Rng, count: Count, t_range: tuple[float, float] = (0.0, 1.0), purpose: str = "t"
) -> Tensor:
    """t / t_max uniform on `t_range`, then shifted; (B,). Draws uniform `purpose`."""
    low, high = t_range
    return process.t_max * process.shifted(low + (high - low) * rng.uniform(purpose, _shape(count)))


def logit_normal_time(
    process: GaussianProcess,
    rng: Rng,
    count: Count,
    mean: float = 0.0,
    std: float = 1.0,
    t_range: tuple[float, float] = (0.0, 1.0),
    purpose: str = "t",
) -> Tensor:
    """logit(t / t_max) ~ N(mean, std^2), Esser et al. 2024 (SD3), Eq. 19, squeezed into `t_range`, then shifted; (B,).
    Draws normal `purpose`."""
    low, high = t_range
    u = torch.sigmoid(mean + std * rng.normal(purpose, _shape(count)))
    return process.t_max * process.shifted(low + (high - low) * u)


def log_normal_time(
    process: GaussianProcess,
    rng: Rng,
    count: Count,
    mean: float = -1.2,
    std: float = 1.2,
    t_range: tuple[float, float] = (0.0, 1.0),
    purpose: str = "t",
) -> Tensor:
    """log(sigma_t / alpha_t) ~ N(mean, std^2), Karras et al. 2022, Tab. 1 (P_mean, P_std), at the time of that noise
    level in this process, clamped to `t_range`; (B,). Draws normal `purpose`."""
    sigma_edm = torch.exp(mean + std * rng.normal(purpose, _shape(count)))
    low, high = t_range
    return process.time(sigma_edm).clamp(low * process.t_max, high * process.t_max)


def draw_time(
    process: GaussianProcess,
    rng: Rng,
    count: Count,
    kind: str = "uniform",
    mean: float = 0.0,
    std: float = 1.0,
    t_range: tuple[float, float] = (0.0, 1.0),
    purpose: str = "t",
) -> Tensor:
    """One of the distributions above by its option name; (B,)."""
    match kind:
        case "uniform":
            return uniform_time(process, rng, count, t_range, purpose)
        case "logit_normal":
            return logit_normal_time(process, rng, count, mean, std, t_range, purpose)
        case "log_normal":
            return log_normal_time(process, rng, count, mean, std, t_range, purpose)
    raise ValueError(f"unknown distribution of times {kind!r}; allowed: uniform, logit_normal, log_normal")


def index_probabilities(process: GaussianProcess, grid: Tensor, mean: float = -1.1, std: float = 2.0) -> Tensor:
    r"""Chance of every step of a grid: that of its interval when log(sigma_t / alpha_t) ~ N(mean, std^2).

    p(i) ~ erf((ln sigma_i - P_m) / (sqrt(2) P_s)) - erf((ln sigma_{i+1} - P_m) / ...); Song & Dhariwal 2024 (iCT).

    Args:
        grid: falling times, (N + 1,); the last may be 0, and then the last step takes the whole lower tail.

    Returns:
        (N,), float64, sums to one.
    """
    sigma = process.sigma_edm(grid.double())
    cumulative = torch.erf((sigma.log() - mean) / (math.sqrt(2) * std))
    p = cumulative[:-1] - cumulative[1:]
    return p / p.sum()


def grid_index(rng: Rng, count: Count, probabilities: Tensor, purpose: str = "t") -> Tensor:
    """Indices in [0, N) with the given chances, (B,) or (B, F), int64, by inversion of one uniform draw `purpose`."""
    u = rng.uniform(purpose, _shape(count))
    edges = probabilities.cumsum(0)[:-1].to(u)
    return torch.searchsorted(edges, u, right=True)


def stratified_time(
    rng: Rng, count: int, t_range: tuple[float, float] = (0.0, 1.0), purpose: str = "t", *, stratified: bool = True
) -> Tensor:
    """t uniform on `t_range`, (B,), float64; stratified: row i of the B of the global batch falls into the i-th of B
    equal parts of the range (antithetic times, Kingma et al. 2021, VDM). Draws uniform `purpose`."""
    u = rng.uniform(purpose, (count,), torch.float64)
    if stratified:
        row = torch.arange(count, device=u.device) + rng.part * count
        u = (row + u) / (count * rng.parts)
    low, high = t_range
    return low + (high - low) * u


def clean_before(t: Tensor, first: Tensor) -> Tensor:
    """Times (B, F) with t = 0 for the frames before `first` (B,)."""
    return torch.where(torch.arange(t.shape[1], device=t.device) < first[:, None], 0.0, t)
