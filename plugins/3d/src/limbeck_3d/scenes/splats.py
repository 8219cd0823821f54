"""The scene `3d/splats`: Gaussians in space, by plain torch or by gsplat."""

from typing import Any

import torch
from torch import nn

from limbeck.conditions import Conditions
from limbeck.networks.scenes import Render
from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.options.scenes import SplatOptions
from limbeck_3d.rendering.space import render_space
from limbeck_3d.rendering.splatting import SH0, Gaussians, density_grid, splat
from limbeck_3d.scenes import regularisers
from limbeck_3d.scenes.base import FieldScene, cameras_of


class Splats(FieldScene):
    """Parameters, P particles of N Gaussians: `means` (P, N, 3), `quaternions` (P, N, 4) w first, `log_scales`
    (P, N, 3), `opacity_logits` (P, N), `colors` (P, N, 3): logits of rgb, or spherical harmonics of degree 0.

    At the start grey balls of equal size fill a ball evenly; quaternions are the identity.
    """

    Options = SplatOptions
    _regularisers = ("opacity", "entropy", "size_prior", "inside")

    def __init__(self, **options: Any):
        o = SplatOptions(**options)
        weights = {name: getattr(o, name) for name in self._regularisers}
        super().__init__(size=o.size, particles=o.particles, background=o.background, weights=weights)
        if o.backend == "gsplat":
            from limbeck_3d.rendering import gsplat as gsplat_backend

            gsplat_backend.require()
        self.backend, self.skip_below = o.backend, o.skip_below
        self.spherical_harmonics, self.start_scale = o.spherical_harmonics, o.start_scale
        self.space = render_space(o.size)
        self.lr_scales = {
            "means": o.position_lr,
            "quaternions": o.shape_lr,
            "log_scales": o.shape_lr,
            "opacity_logits": o.opacity_lr,
            "colors": o.color_lr,
        }
        shape = (o.particles, o.count)
        outwards = nn.functional.normalize(torch.randn(*shape, 3), dim=-1)
        self.means = nn.Parameter(o.blob_radius * torch.rand(*shape, 1) ** (1 / 3) * outwards)
        self.quaternions = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(*shape, 4).clone())
        self.log_scales = nn.Parameter(torch.full((*shape, 3), o.start_scale).log())
        self.opacity_logits = nn.Parameter(torch.full(shape, o.start_opacity).logit())
        self.colors = nn.Parameter(o.color_std * torch.randn(*shape, 3))

    def gaussians(self, particle: int = 0) -> Gaussians:
        """One particle's Gaussians, rgb in [0, 1] (with spherical harmonics: not less than 0)."""
        colors = self.colors[particle]
        return Gaussians(
            means=self.means[particle],
            quaternions=self.quaternions[particle],
            scales=self.log_scales[particle].exp(),
            opacity=self.opacity_logits[particle].sigmoid(),
            rgb=(0.5 + SH0 * colors).clamp_min(0) if self.spherical_harmonics else colors.sigmoid(),
        )

    def forward(self, cond: Any) -> Render:
        self.check()
        return self.each_particle(cond, len(cameras_of(cond, self.means)), self._render)

    def _render(self, particle: int, cond: Conditions) -> Render:
        """All rows of `cond` show one particle."""
        cameras, gaussians = cameras_of(cond, self.means), self.gaussians(particle)
        background = 0.5 * (self.background(cond, len(cameras), self.means) + 1)
        size = {"height": self.size, "width": self.size}
        if self.backend == "gsplat":
            from limbeck_3d.rendering import gsplat as gsplat_backend

            rgb, alpha, depth = gsplat_backend.splat(gaussians, cameras, background, **size)
        else:
            rgb, alpha, depth = splat(gaussians, cameras, background, skip_below=self.skip_below, **size)
        _, directions = cameras.rays(self.size, self.size)
        along_axis = torch.einsum("bhwi,bi->bhw", directions, -cameras.axes()[..., 2])[:, None]
        return Render(
            image=2 * rgb - 1,
            alpha=alpha,
            depth=depth / along_axis,
            penalties=self.penalties(len(cameras), {
                "opacity": lambda: regularisers.opaque_share(alpha),
                "entropy": lambda: regularisers.alpha_entropy(alpha),
                "size_prior": lambda: (gaussians.scales / self.start_scale).square().mean().reshape(1),
                "inside": lambda: (gaussians.means.abs() - 1).clamp_min(0).square().sum(-1).mean().reshape(1),
            }),
        )  # fmt: skip

    def field(self, cells: int | None = None, particle: int = 0) -> FieldGrid:
        """The sum of Gaussian densities that casts these splats (`splats.density_amplitude`), 64 cells by default."""
        with torch.no_grad():
            self.check()
            density, color = density_grid(self.gaussians(particle), cells or 64)
            return FieldGrid(density, color.clamp(0, 1))


__all__ = ["Splats"]
