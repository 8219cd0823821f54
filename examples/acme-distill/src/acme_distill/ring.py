"""A teacher with no weights: equal Gaussians on a circle in the plane, whose denoiser is known in closed form."""

import math

import torch
from torch import Tensor

from limbeck import Prediction, RectifiedFlow, Space, Teacher


class Ring(Teacher):
    """x0 ~ 1/K sum_k N(m_k, std^2 I) with m_k on a circle, noised by the rectified flow.

    With S^2 = alpha_t^2 std^2 + sigma_t^2 and w_k = softmax_k(-|xt - alpha_t m_k|^2 / 2 S^2),
    x0_hat = sum_k w_k [m_k + alpha_t std^2 / S^2 (xt - alpha_t m_k)].
    """

    def __init__(self, modes: int, radius: float, std: float):
        super().__init__()
        self.process, self.space, self.std = RectifiedFlow(), Space((2,)), std
        angles = 2 * math.pi * torch.arange(modes) / modes
        self.register_buffer("means", radius * torch.stack([angles.cos(), angles.sin()], dim=1))  # (K, 2)

    def forward(self, xt: Tensor, t: Tensor, cond=None, *, features=()) -> Prediction:
        c = self.process.at(t, xt)  # coefficients, (B, 1)
        variance = c.alpha_t**2 * self.std**2 + c.sigma_t**2
        offsets = xt[:, None] - c.alpha_t[:, None] * self.means  # (B, K, 2)
        weights = torch.softmax(-offsets.square().sum(-1) / (2 * variance), dim=1)[..., None]  # (B, K, 1)
        shrink = (c.alpha_t * self.std**2 / variance)[:, None]
        return Prediction(x0_hat=(weights * (self.means + shrink * offsets)).sum(1))


def ring(modes: int = 6, radius: float = 1.0, std: float = 0.2) -> Ring:
    return Ring(modes, radius, std)
