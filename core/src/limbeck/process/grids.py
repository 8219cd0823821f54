"""Grids of times: where solvers, few-step plans and consistency training stop on their way from noise to data."""

import math

import torch
from torch import Tensor

from limbeck.process.gaussian import GaussianProcess, Spacing


def time_grid(
    process: GaussianProcess,
    steps: int,
    spacing: Spacing = "uniform",
    *,
    t_max: float | None = None,
    t_min: float = 0.0,
    rho: float = 7.0,
    sigma_range: tuple[float, float] | None = None,
) -> Tensor:
    """Times t_max = t_0 > t_1 > ... > t_steps = t_min, (steps + 1,), float64.

    uniform: equally spaced in t, then `shifted` by the process; log_snr: equally spaced in log SNR between the noise
    levels of `sigma_range` (None: the process's own); karras: Karras et al. 2022, Eq. 5, with exponent `rho`. The last
    two end with t_min itself.
    """
    if steps < 1:
        raise ValueError(f"a grid needs at least one step; got {steps}")
    start = process.t_max if t_max is None else t_max
    if spacing == "uniform":
        share = process.shifted(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64))
        return t_min + (start - t_min) * share
    low, high = given = process.sigma_range if sigma_range is None else sigma_range
    ends = process.sigma_edm(torch.tensor([start, t_min], dtype=torch.float64))
    high = min(high, float(ends[0]))  # no time beyond t_max: VP with a small beta_max never reaches sigma 80
    if not float(ends[1]) < low < high:
        raise ValueError(
            f"sigma_range must lie between the noise levels of t_min and t_max, {float(ends[1]):.4g} and "
            f"{float(ends[0]):.4g}; got {given}"
        )
    ramp = torch.linspace(0.0, 1.0, steps, dtype=torch.float64)
    if spacing == "log_snr":
        sigma = torch.exp(math.log(high) + ramp * (math.log(low) - math.log(high)))
    elif spacing == "karras":
        sigma = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    else:
        raise ValueError(f"unknown spacing {spacing!r}; allowed: uniform, log_snr, karras")
    t = process.time(sigma)
    t[0] = start
    return torch.cat([t, t.new_tensor([t_min])])


__all__ = ["time_grid"]
