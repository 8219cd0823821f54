"""A process as a stranger writes one: no class of Limbeck's but the base, and preferences of its own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.process.gaussian import Coefficients, GaussianProcess


@dataclass(frozen=True)
class Bell(GaussianProcess):
    """alpha_t = exp(-t^2 / 2), sigma_t^2 = 1 - alpha_t^2, t in [0, 3]: variance preserving with beta(t) = 2 t."""

    t_max = 3.0
    spacing = "log_snr"
    sigma_range = (0.01, 50.0)
    native_chart = "angle"

    def coefficients(self, t: Tensor) -> Coefficients:
        alpha_t = torch.exp(-(t**2) / 2)
        sigma_t = torch.sqrt(-torch.expm1(-(t**2)))
        slope = torch.where(t == 0, 1.0, t * alpha_t**2 / torch.where(t == 0, 1.0, sigma_t))
        return Coefficients(alpha_t, sigma_t, -t * alpha_t, slope)

    def time(self, sigma_edm: Tensor) -> Tensor:
        return torch.sqrt(torch.log1p(sigma_edm**2))

    def shifted(self, share: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * share)
