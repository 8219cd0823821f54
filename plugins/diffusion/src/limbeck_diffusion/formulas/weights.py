"""Loss weights that turn an x0 error into the error of another prediction."""

from typing import Literal

import torch
from torch import Tensor

from limbeck.process.gaussian import GaussianProcess, align

ErrorKind = Literal["x0", "eps", "v", "velocity", "edm"]


def error_weight(process: GaussianProcess, t: Tensor, kind: ErrorKind, sigma_data: float = 0.5) -> Tensor:
    r"""w(t) such that w ||x0_hat - x0||^2 is the squared error of prediction `kind` at the same (x_t, t).

    With x_t given, eps = (x_t - alpha x0) / sigma, so an error d in x0 is (alpha / sigma) d in eps,
    (alpha^2 + sigma^2) / sigma d in v and (d_alpha - d_sigma alpha / sigma) d in velocity. `edm` is the weight
    (s^2 + sigma_data^2) / (s sigma_data)^2 of Karras et al. 2022, Tab. 1, at s = sigma / alpha.

    Args:
        t: (B,) or (B, F), in (0, t_max).

    Returns:
        The shape of t.
    """
    c = process.coefficients(t)
    match kind:
        case "x0":
            return torch.ones_like(t)
        case "eps":
            return (c.alpha_t / c.sigma_t) ** 2
        case "v":
            return ((c.alpha_t**2 + c.sigma_t**2) / c.sigma_t) ** 2
        case "velocity":
            return (c.d_alpha_t - c.d_sigma_t * c.alpha_t / c.sigma_t) ** 2
        case "edm":
            sigma = c.sigma_t / c.alpha_t
            return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
    raise ValueError(f"unknown error kind {kind!r}; allowed: x0, eps, v, velocity, edm")


def weighted_error(x0_hat: Tensor, x0: Tensor, weight: Tensor) -> Tensor:
    """mean_event w(t) (x0_hat - x0)^2: x0_hat, x0 (B, *event), weight (B,) or (B, F); returns (B,)."""
    return (align(weight, x0).to(x0.dtype) * (x0_hat - x0).square()).flatten(1).mean(1)
