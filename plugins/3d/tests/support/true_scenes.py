"""Scenes that show a true mesh."""

import torch

from limbeck.networks.scenes import Cameras, Render, Scene
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.rendering.rasterise import over, rasterise
from limbeck_3d.rendering.space import render_space

SIZE = 32


class TrueScene(Scene):
    """Shows a mesh, turned by `turn` degrees, or always from the front."""

    def __init__(self, prompt, turn=0.0, front_only=False):
        super().__init__()
        self.surface, self.space = surface(build(prompt)), render_space(SIZE)
        self.turn, self.front_only = turn, front_only
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, cond):
        cameras = Cameras.of(cond)
        azimuth = torch.zeros_like(cameras.azimuth) if self.front_only else cameras.azimuth + self.turn
        seen = rasterise(
            self.surface,
            Cameras(azimuth=azimuth, elevation=cameras.elevation, distance=cameras.distance, fov=cameras.fov),
            SIZE,
        )
        return Render(image=over(seen.colour, seen.alpha, cond["background"]), alpha=seen.alpha)
