"""The scene `3d/image`: the parameter is the picture; the camera changes nothing. Letters: P particles, C channels."""

from typing import Any

import torch
from torch import nn

from limbeck.networks.scenes import Render
from limbeck_3d.options.scenes import ImageSceneOptions
from limbeck_3d.rendering.space import render_space
from limbeck_3d.scenes.base import Particles


class ImageScene(Particles):
    """The picture itself is the parameter `image` (P, C, size, size), in [-1, 1]: the identity as renderer.

    The cheapest scene, and the one on which objectives are checked. Conditions may be anything with a length, or None:
    then there is a row per particle.
    """

    Options = ImageSceneOptions

    def __init__(self, **options: Any):
        o = ImageSceneOptions(**options)
        super().__init__(size=o.size, particles=o.particles, background=o.background, weights={})
        self.bounded = o.bounded
        self.space = render_space(o.size, o.channels)
        self.image = nn.Parameter(o.std * torch.randn(o.particles, *self.space.event))

    def forward(self, cond: Any = None) -> Render:
        self.check()
        rows = self.particles if cond is None else len(cond)
        image = self.image[self.particle(cond, rows)]
        image = image.tanh() if self.bounded else image
        return Render(image=image, alpha=torch.ones_like(image[:, :1]))


__all__ = ["ImageScene"]
