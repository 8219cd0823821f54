"""Rays through a field: where it is opaque, and at which density its surface lies.

Letters: R rays, K samples on each.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.networks.scenes import Cameras
from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.rendering.volume import cube_span, trilinear


@dataclass(frozen=True)
class Probe:
    """What R rays meet in a field: alpha, the largest density until half of the ray's light is gone (`front`; over all
    of the ray where less than half goes), and the largest density anywhere (`peak`), (R,) each."""

    alpha: Tensor
    front: Tensor
    peak: Tensor


def probe(grid: FieldGrid, *, views: int = 12, size: int = 36, samples: int = 72) -> Probe:
    """Send rays into a field from all around, without gradients."""
    turn = torch.arange(views)
    cameras = Cameras(
        azimuth=turn * 137.5, elevation=torch.asin(torch.linspace(-0.9, 0.9, views)).rad2deg(),
        distance=torch.full((views,), 4.0), fov=torch.full((views,), 40.0),
    )  # fmt: skip
    origins, directions = cameras.rays(size, size)
    origins = origins.expand_as(directions).reshape(-1, 3).to(grid.density.device)
    directions = directions.reshape(-1, 3).to(grid.density.device)
    near, far = cube_span(origins, directions)
    length = ((far - near) / samples)[:, None]
    distance = near[:, None] + (torch.arange(samples, device=near.device) + 0.5) * length
    points = origins[:, None] + distance[..., None] * directions[:, None]
    density = trilinear(grid.density.float()[None], points)[0]  # (R, K)
    gone = torch.cumsum(density * length, dim=1)
    before = gone - density * length < math.log(2)  # the piece in which half is reached counts
    met = far > near
    return Probe(
        alpha=(1 - torch.exp(-gone[:, -1])) * met,
        front=torch.where(before, density, 0.0).amax(1) * met,
        peak=density.amax(1) * met,
    )


def surface_density(found: Probe, candidates: int = 100) -> float | None:
    """The density whose surface shows what renders show; None when no ray is half opaque.

    Of all levels L the one with the largest overlap between the rays that are at least half opaque and those that meet
    density L: before half of their light is gone if they are opaque, anywhere if they are not. Soft fields get a lower
    level than hard ones, so that walls have no holes.
    """
    opaque = found.alpha >= 0.5
    if not bool(opaque.any()):
        return None
    fronts, others = found.front[opaque].sort().values, found.peak[~opaque].sort().values
    levels = fronts[torch.linspace(0, len(fronts) - 1, candidates, device=fronts.device).long()] * (1 - 1e-6)
    right = len(fronts) - torch.searchsorted(fronts, levels, right=True)
    wrong = len(others) - torch.searchsorted(others, levels, right=True)
    return float(levels[(right / (len(fronts) + wrong)).argmax()])


__all__ = ["Probe", "probe", "surface_density"]
