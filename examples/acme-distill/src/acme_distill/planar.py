"""A small network for points in the plane: the student, and the critic where an objective wants one."""

import torch
from torch import Tensor, nn

from limbeck import Denoiser, RectifiedFlow, Space


class Perceptron(nn.Module):
    """(x (B, 2), time (B,)) -> (B, 2)."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x: Tensor, time: Tensor, cond=None) -> Tensor:
        return self.layers(torch.cat([x, time[:, None].to(x)], dim=1))


def planar(width: int = 64) -> Denoiser:
    return Denoiser(Perceptron(width), RectifiedFlow(), Space((2,)), prediction="velocity", sigma_data=1.0)
