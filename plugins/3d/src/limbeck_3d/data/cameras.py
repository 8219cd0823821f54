"""Cameras around a scene, random or evenly spaced, and the conditions of views."""

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.networks.scenes import Cameras
from limbeck.randomness import Rng
from limbeck_3d.options.cameras import CameraOptions
from limbeck_3d.prompts import captions


def random_cameras(rng: Rng, count: int, options: CameraOptions) -> Cameras:
    """Azimuth all around, the rest in the ranges of the options. Draws: azimuth, elevation, distance, fov."""

    def between(purpose: str, low: float, high: float) -> Tensor:
        return low + (high - low) * rng.uniform(purpose, (count,))

    return Cameras(
        azimuth=between("azimuth", 0, 360),
        elevation=between("elevation", *options.elevation),
        distance=between("distance", *options.distance),
        fov=between("fov", *options.fov),
    )


def orbit_cameras(count: int, options: CameraOptions) -> Cameras:
    """Evenly spaced: every eight views go around once, at the middle, a high and a low elevation in turn, each round
    15 degrees farther than the one before. Middle distance and field of view."""
    view = torch.arange(count)
    low, high = options.elevation
    height = torch.tensor([0.45, 0.8, 0.2])[(view // 8) % 3]
    return Cameras(
        azimuth=((view % 8) * 45.0 + 15.0 * (view // 8) + 5.0 * (view // 24)) % 360,
        elevation=low + (high - low) * height,
        distance=torch.full((count,), sum(options.distance) / 2),
        fov=torch.full((count,), sum(options.fov) / 2),
    )


def rows_of(cameras: Cameras, rows: Tensor) -> Cameras:
    """Some of the cameras, by their indices (N,)."""
    return Cameras(
        azimuth=cameras.azimuth[rows], elevation=cameras.elevation[rows],
        distance=cameras.distance[rows], fov=cameras.fov[rows],
    )  # fmt: skip


def conditions_of(tokens: Tensor, cameras: Cameras, background: Tensor, view_words: bool = True) -> Conditions:
    """Tokens (B, L) or (L,), cameras and backgrounds (B, 3) as one."""
    text = tokens.expand(len(cameras), -1)
    return Conditions(
        text=captions.with_views(text, cameras) if view_words else text,
        azimuth=cameras.azimuth, elevation=cameras.elevation, distance=cameras.distance, fov=cameras.fov,
        background=background,
    )  # fmt: skip


__all__ = ["conditions_of", "orbit_cameras", "random_cameras", "rows_of"]
