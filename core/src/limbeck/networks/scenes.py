"""Scenes: generators that have no noise process of their own and are seen through cameras.

A camera looks from a sphere at the origin. Angles are in degrees, lengths in units of the scene, whose content lies in
[-1, 1]^3. The world is right-handed with +y up; azimuth 0 looks at the front (the camera sits on +z), 90 at the right
side (+x), elevation 90 from above. Image rows run downwards; pixel centres lie at half integers.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.interfaces import Generator


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """B cameras on spheres: azimuth, elevation (degrees), distance, and vertical field of view (degrees), all (B,)."""

    azimuth: Tensor
    elevation: Tensor
    distance: Tensor
    fov: Tensor

    @classmethod
    def of(cls, cond: Mapping[str, Tensor]) -> "Cameras":
        """The cameras among conditions that have the keys azimuth, elevation, distance and fov."""
        return cls(**{f.name: cond[f.name] for f in fields(cls)})

    def __len__(self) -> int:
        return len(self.azimuth)

    def float(self) -> "Cameras":
        """In single precision: half precision is a degree off."""
        return Cameras(**{f.name: getattr(self, f.name).float() for f in fields(self)})

    def position(self) -> Tensor:
        """Where they stand, (B, 3)."""
        azimuth, elevation = torch.deg2rad(self.azimuth), torch.deg2rad(self.elevation)
        flat = elevation.cos()
        direction = torch.stack([flat * azimuth.sin(), elevation.sin(), flat * azimuth.cos()], dim=-1)
        return self.distance.unsqueeze(-1) * direction

    def axes(self) -> Tensor:
        """Right, up and backwards (towards the camera) in the world, as columns, (B, 3, 3)."""
        back = F.normalize(self.position(), dim=-1)
        azimuth = torch.deg2rad(self.azimuth)
        right = torch.stack([azimuth.cos(), torch.zeros_like(azimuth), -azimuth.sin()], dim=-1)  # level, even overhead
        return torch.stack([right, torch.cross(back, right, dim=-1), back], dim=-1)

    def focal(self, height: int) -> Tensor:
        """Focal length in pixels of an image of that height, (B,)."""
        return 0.5 * height / torch.tan(0.5 * torch.deg2rad(self.fov))

    def rays(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Origins (B, 1, 1, 3) and unit directions (B, H, W, 3) through the pixels' centres."""
        like = self.azimuth
        y = torch.arange(height, device=like.device, dtype=like.dtype) + 0.5 - 0.5 * height
        x = torch.arange(width, device=like.device, dtype=like.dtype) + 0.5 - 0.5 * width
        focal = self.focal(height)[:, None, None]
        down, across = torch.meshgrid(y, x, indexing="ij")
        local = torch.stack([across / focal, -down / focal, -torch.ones_like(across / focal)], dim=-1)
        world = torch.einsum("bij,bhwj->bhwi", self.axes(), local)
        return self.position()[:, None, None], F.normalize(world, dim=-1)


@dataclass(frozen=True, kw_only=True)
class Render:
    """What a scene shows to B cameras.

    image (B, C, H, W) in [-1, 1], background included; alpha (B, 1, H, W) in [0, 1]; depth (B, 1, H, W), expected
    distance along the ray, where the renderer has one; penalties (B,) each: the scene's regularisers, weighted.
    """

    image: Tensor
    alpha: Tensor
    depth: Tensor | None = None
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


class Scene(Generator):
    """A generator of images by rendering. `forward` is one render."""

    @abstractmethod
    def forward(self, cond: Any) -> Render:
        """Render for the cameras (and the backgrounds, (B, 3) in [-1, 1], key `background`) among `cond`."""


__all__ = ["Cameras", "Render", "Scene"]
