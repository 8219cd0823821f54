"""The network of views: a denoiser of small images, given a prompt, a camera and the background's colour."""

from typing import Any

import torch
from torch import Tensor, nn

from limbeck.conditions import Conditions
from limbeck.networks.denoiser import Denoiser
from limbeck.networks.scenes import Cameras
from limbeck.process.gaussian import process_named
from limbeck_3d.options.networks import ViewsGeneratorOptions
from limbeck_3d.prompts.words import LENGTH, WORDS
from limbeck_3d.rendering.space import render_space
from limbeck_diffusion.networks.unet import UNet

SIGMA_DATA = 0.55  # standard deviation of the renders in [-1, 1]


def camera_features(cameras: Cameras) -> Tensor:
    """Smooth numbers of order one that distinguish cameras, (B, 10)."""
    around = torch.deg2rad(cameras.azimuth)[:, None] * torch.tensor([1.0, 2.0, 4.0], device=cameras.azimuth.device)
    up = torch.deg2rad(cameras.elevation)[:, None]
    far = torch.stack([(cameras.distance - 3) / 0.5, (cameras.fov - 40) / 20], dim=1)
    return torch.cat([around.sin(), around.cos(), up.sin(), up.cos(), far], dim=1)


class ViewEmbedding(nn.Module):
    """Conditions (text, camera, background) -> (B, D). Words have places, so that colours stay with their shapes."""

    def __init__(self, width: int, words: int = 48):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), words)
        self.text = nn.Sequential(nn.Linear(LENGTH * words, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.view = nn.Sequential(nn.Linear(10 + 3, width), nn.SiLU(), nn.Linear(width, width))
        self.both = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.width = width

    def forward(self, cond: Conditions | None, rows: int) -> Tensor:
        if cond is None:
            return self.words.weight.new_zeros(rows, self.width)
        text = self.text(self.words(cond["text"]).flatten(1))
        features = torch.cat([camera_features(Cameras.of(cond)), cond["background"]], dim=1)
        view = self.view(features.to(self.words.weight.dtype))
        return text + view + self.both(torch.cat([text, view], dim=1))


class ViewDenoiser(Denoiser):
    """A denoiser whose unconditional input keeps the camera and the background and drops the prompt."""

    def null(self, cond: Any) -> Any:
        return cond.but(text=torch.zeros_like(cond["text"]))


def views_generator(**options: Any) -> ViewDenoiser:
    """A fresh denoiser of views."""
    chosen = ViewsGeneratorOptions(**options)
    where = render_space(chosen.size)
    network = UNet.of(where, chosen, lambda width: ViewEmbedding(width, chosen.words))
    process = process_named(chosen.process)
    return ViewDenoiser(network, process, where, prediction=chosen.prediction, sigma_data=SIGMA_DATA)


__all__ = ["SIGMA_DATA", "ViewDenoiser", "ViewEmbedding", "camera_features", "views_generator"]
