"""The scene `3d/voxels`: densities and colours on a grid, by volume rendering.

Letters: B views, H W pixels, P particles, N cells per side, M cells after pooling.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.conditions import Conditions
from limbeck.networks.scenes import Render
from limbeck.scheduled import Ramp, value_at
from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.options.scenes import VoxelOptions
from limbeck_3d.rendering.compositing import opacity
from limbeck_3d.rendering.space import render_space
from limbeck_3d.rendering.volume import Traced, ball_span, cube_span, grid_field, trace
from limbeck_3d.scenes import regularisers
from limbeck_3d.scenes.base import FieldScene, cameras_of


def inverse_softplus(value: Tensor) -> Tensor:
    """x with log(1 + e^x) = value > 0."""
    return value + torch.log(-torch.expm1(-value))


def ball(cells: int, radius: float) -> Tensor:
    """1 in the centre of the cube, 0 at `radius` and negative beyond, linear in the distance, (N, N, N)."""
    line = (torch.arange(cells) + 0.5) * 2 / cells - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return 1 - torch.sqrt(x.square() + y.square() + z.square()) / radius


class Voxels(FieldScene):
    """Parameters `density` (P, N, N, N) and `color` (P, 3, N, N, N) on axes z, y, x:

        sigma = density_scale * softplus(density),  rgb = sigmoid(color),

    activated in the cells and interpolated between their centres. At the start a soft grey ball. With `resolution`,
    parameters are averaged over blocks to so many cells per side while training; evaluation mode has the resolution
    that the schedule ends with. Of `bounds: ball` only the ball of radius 1 is seen and exported.
    """

    Options = VoxelOptions
    _regularisers = ("opacity", "entropy", "tv_density", "tv_color", "sparsity", "distortion", "border")

    def __init__(self, **options: Any):
        o = VoxelOptions(**options)
        weights = {name: getattr(o, name) for name in self._regularisers}
        super().__init__(size=o.size, particles=o.particles, background=o.background, weights=weights)
        self.samples, self.resolution, self.scale = o.samples, o.resolution, o.density_scale
        self.span = ball_span if o.bounds == "ball" else cube_span
        self.space = render_space(o.size)
        self.lr_scales = {"density": o.density_lr, "color": o.color_lr}
        centre = float(inverse_softplus(torch.tensor(o.blob_density / o.density_scale, dtype=torch.float64)))
        # from the centre to the surface the parameter falls by 5: density by about e^5
        start = centre + 5 * (ball(o.grid, o.blob_radius) - 1)
        self.density = nn.Parameter(start.clamp_min(centre - 10).expand(o.particles, -1, -1, -1).clone())
        self.color = nn.Parameter(o.color_std * torch.randn(o.particles, 3, o.grid, o.grid, o.grid))

    def cells(self) -> int:
        """Cells per side that are resolved now."""
        grid = self.density.shape[-1]
        if self.resolution is None:
            return grid
        if self.training:
            return round(value_at(self.resolution, self.step))
        return round(self.resolution.end if isinstance(self.resolution, Ramp) else self.resolution)

    def activated(self, particle: int) -> tuple[Tensor, Tensor]:
        """Density (M, M, M) and rgb (3, M, M, M) in [0, 1] of one particle."""
        both = torch.cat([self.density[particle][None], self.color[particle]])
        if (cells := self.cells()) != both.shape[-1]:
            both = F.adaptive_avg_pool3d(both, cells)
        return self.scale * F.softplus(both[0]), both[1:].sigmoid()

    def field(self, cells: int | None = None, particle: int = 0) -> FieldGrid:
        with torch.no_grad():
            self.check()
            density, color = self.activated(particle)
            if cells is not None and cells != density.shape[-1]:
                stacked = torch.cat([density[None], color])[None]
                stacked = F.interpolate(stacked, size=(cells,) * 3, mode="trilinear", align_corners=False)[0]
                density, color = stacked[0], stacked[1:]
            if self.span is ball_span:
                density = density * (ball(density.shape[-1], 1.0) > 0).to(density)
            return FieldGrid(density, color)

    def forward(self, cond: Any) -> Render:
        self.check()
        return self.each_particle(cond, len(cameras_of(cond, self.density)), self._render)

    def _render(self, particle: int, cond: Conditions) -> Render:
        """All rows of `cond` show one particle."""
        cameras = cameras_of(cond, self.density)
        rows, pixels = len(cameras), self.size * self.size
        origins, directions = cameras.rays(self.size, self.size)
        jitter = cond.get("jitter")  # (B,) or (B, H, W) in [0, 1): where in its piece of a ray a sample lies
        if jitter is not None:
            jitter = jitter.to(self.density).reshape(rows, -1).expand(rows, pixels).reshape(-1)
        density, rgb = self.activated(particle)
        seen = trace(
            grid_field(density, 2 * rgb - 1),
            origins.expand_as(directions).reshape(-1, 3),
            directions.reshape(-1, 3),
            self.background(cond, rows, self.density).T[:, :, None].expand(3, rows, pixels).reshape(3, -1),
            samples=self.samples,
            jitter=jitter,
            span=self.span,
        )
        shape = (rows, -1, self.size, self.size)
        alpha = seen.alpha.reshape(shape)
        return Render(
            image=seen.color.reshape(3, *shape[:1], *shape[2:]).transpose(0, 1),
            alpha=alpha,
            depth=seen.depth.reshape(shape),
            penalties=self._regularise(density, rgb, alpha, seen),
        )

    def _regularise(self, density: Tensor, rgb: Tensor, alpha: Tensor, seen: Traced) -> dict[str, Tensor]:
        rows, cell = len(alpha), 2 / density.shape[-1]

        def tied(weights: Tensor) -> Tensor:
            """Distortion of the rays that meet the cube, averaged over all rays of a view."""
            spread = alpha.new_zeros(alpha.numel()).index_copy(0, seen.hit, regularisers.distortion(weights))
            return spread.reshape(rows, -1).mean(1)

        return self.penalties(rows, {
            "opacity": lambda: regularisers.opaque_share(alpha),
            "entropy": lambda: regularisers.alpha_entropy(alpha),
            "tv_density": lambda: regularisers.total_variation(opacity(density, cell)[None, None]),
            "tv_color": lambda: regularisers.total_variation(rgb[None]),
            "sparsity": lambda: regularisers.sparsity(density[None]),
            "distortion": lambda: tied(seen.weights),
            "border": lambda: regularisers.border(density[None], cell),
        })  # fmt: skip


__all__ = ["Voxels", "ball", "inverse_softplus"]
