"""Scenes: what is trained when there is no network to distil into.

    3d/image    the parameter is the picture; the camera changes nothing
    3d/voxels   densities and colours on a grid, by volume rendering (`volume`)
    3d/splats   Gaussians in space (`splats`), in module `splat_scene`

All render `Conditions` with a camera per row and, if there is one, a background (B, 3) in [-1, 1]. With `particles`
P > 1 there are P independent scenes side by side; row b shows the one of `cond["particle"]` (B,), else number b mod P.
Letters: B views, C channels, H W pixels, P particles, N cells per side, M cells after pooling.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError, NonFinite
from limbeck.interfaces import Space
from limbeck.networks.scenes import Cameras, Render, Scene
from limbeck.scheduled import Ramp, value_at
from limbeck_3d.options.scenes import ImageSceneOptions, VoxelOptions
from limbeck_3d.rendering.compositing import opacity
from limbeck_3d.rendering.volume import Traced, ball_span, cube_span, grid_field, trace
from limbeck_3d.scenes import regularisers

DOMAIN = "renders"


@dataclass(frozen=True)
class FieldGrid:
    """A scene as numbers on a grid: density (N, N, N) >= 0 per unit of length and color (3, N, N, N) in [0, 1], both on
    axes z, y, x; value i of N sits at -1 + (2 i + 1)/N."""

    density: Tensor
    color: Tensor

    @property
    def cell(self) -> float:
        """Length of a cell's side."""
        return 2 / self.density.shape[-1]


class Particles(Scene):
    """What all scenes share: size of renders, backgrounds, which particle a row shows, weights that follow steps."""

    def __init__(self, *, size: int, particles: int, background: float, weights: Mapping[str, float | Ramp]):
        super().__init__()
        self.size, self.particles, self.default_background = size, particles, background
        self.weights = dict(weights)
        self.step = 0

    def at_step(self, step: int) -> None:
        self.step = step

    def background(self, cond: Any, rows: int, like: Tensor, channels: int = 3) -> Tensor:
        """(B, C) in [-1, 1]: that of the conditions, or the default grey."""
        given = cond.get("background") if isinstance(cond, Conditions) else None
        if given is None:
            return like.new_full((rows, channels), self.default_background)
        if given.shape != (rows, channels):
            raise LimbeckError(
                f"condition 'background' has shape {tuple(given.shape)}; expected ({rows}, {channels}), a "
                "colour per view in [-1, 1]"
            )
        return given.to(like)

    def particle(self, cond: Any, rows: int) -> list[int]:
        """Which of the P scenes each row shows."""
        given = cond.get("particle") if isinstance(cond, Conditions) else None
        if given is None:
            return [row % self.particles for row in range(rows)]
        found = given.tolist()
        if any(not 0 <= index < self.particles for index in found):
            raise LimbeckError(
                f"condition 'particle' asks for {sorted(set(found))}; this scene has particles 0 to "
                f"{self.particles - 1}. Raise generator.particles"
            )
        return found

    def each_particle(self, cond: Any, rows: int, render: Callable[[int, Any], Render]) -> Render:
        """One render of all rows, put together from one per particle."""
        groups: dict[int, list[int]] = {}
        for row, index in enumerate(self.particle(cond, rows)):
            groups.setdefault(index, []).append(row)
        if len(groups) == 1:
            return render(next(iter(groups)), cond)
        parts = [render(index, cond[torch.tensor(of)]) for index, of in groups.items()]
        order = torch.tensor([row for of in groups.values() for row in of]).argsort()

        def joined(pieces: list[Tensor]) -> Tensor:
            return torch.cat(pieces)[order.to(pieces[0].device)]

        return Render(
            image=joined([part.image for part in parts]),
            alpha=joined([part.alpha for part in parts]),
            depth=joined([part.depth for part in parts if part.depth is not None]),
            penalties={name: joined([part.penalties[name] for part in parts]) for name in parts[0].penalties},
        )

    def penalties(self, rows: int, found: Mapping[str, Callable[[], Tensor]]) -> dict[str, Tensor]:
        """Weighted regularisers (B,), while training; `found` maps names to functions that answer (B,) or (1,), called
        when their weight is not 0 now."""
        if not self.training:
            return {}
        weights = {name: value_at(self.weights[name], self.step) for name in found}
        return {name: weight * found[name]().expand(rows) for name, weight in weights.items() if weight > 0}

    def check(self) -> None:
        """Raise when a parameter is not a number."""
        for name, parameter in self.named_parameters():
            if not bool(torch.isfinite(parameter.detach().sum())):
                bad = int((~torch.isfinite(parameter.detach())).sum())
                if bad:
                    raise NonFinite(
                        f"scene {type(self).__name__}: {bad:,} of {parameter.numel():,} values of '{name}' are not "
                        "finite. Lower the learning rate or the guidance scale, clip gradients "
                        "(train.clip=1.0), or resume from an earlier checkpoint"
                    )


class FieldScene(Particles):
    """A scene that fills space: exporters ask it for numbers on a grid."""

    @abstractmethod
    def field(self, cells: int | None = None, particle: int = 0) -> FieldGrid:
        """Density and colour on a grid of `cells` per side (None: what suits the scene), without gradients."""


def cameras_of(cond: Any, like: Tensor) -> Cameras:
    """The cameras among conditions, in the precision of a tensor."""
    if not isinstance(cond, Conditions):
        raise LimbeckError(
            f"a scene is seen through cameras: its conditions need azimuth, elevation, distance and fov; got "
            f"{type(cond).__name__}. Give the recipe data with cameras, or Conditions(azimuth=..., ...)"
        )
    found = Cameras.of(cond)
    return Cameras(
        azimuth=found.azimuth.to(like), elevation=found.elevation.to(like),
        distance=found.distance.to(like), fov=found.fov.to(like),
    )  # fmt: skip


# --- image -----------------------------------------------------------------------------------------------------------


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
        self.space = Space((o.channels, o.size, o.size), domain=DOMAIN)
        self.image = nn.Parameter(o.std * torch.randn(o.particles, *self.space.event))

    def forward(self, cond: Any = None) -> Render:
        self.check()
        rows = self.particles if cond is None else len(cond)
        image = self.image[self.particle(cond, rows)]
        image = image.tanh() if self.bounded else image
        return Render(image=image, alpha=torch.ones_like(image[:, :1]))


# --- voxels ----------------------------------------------------------------------------------------------------------


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
    parameters are averaged over blocks to so many cells per side while training; what is looked at in evaluation mode
    has the resolution that the schedule ends with. Of `bounds: ball` only the ball of radius 1 is seen and exported.
    """

    Options = VoxelOptions
    _regularisers = ("opacity", "entropy", "tv_density", "tv_color", "sparsity", "distortion", "border")

    def __init__(self, **options: Any):
        o = VoxelOptions(**options)
        weights = {name: getattr(o, name) for name in self._regularisers}
        super().__init__(size=o.size, particles=o.particles, background=o.background, weights=weights)
        self.samples, self.resolution, self.scale = o.samples, o.resolution, o.density_scale
        self.span = ball_span if o.bounds == "ball" else cube_span
        self.space = Space((3, o.size, o.size), domain=DOMAIN)
        self.lr_scales = {"density": o.density_lr, "color": o.color_lr}
        centre = float(inverse_softplus(torch.tensor(o.blob_density / o.density_scale, dtype=torch.float64)))
        # from the centre to the surface the parameter falls by 5: density by about e^5
        start = centre + 5 * (ball(o.grid, o.blob_radius) - 1)
        self.density = nn.Parameter(start.clamp_min(centre - 10).expand(o.particles, -1, -1, -1).clone())
        self.color = nn.Parameter(o.color_std * torch.randn(o.particles, 3, o.grid, o.grid, o.grid))

    def cells(self) -> int:
        """Cells per side that are told apart now."""
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


__all__ = ["FieldGrid", "FieldScene", "ImageScene", "Voxels", "cameras_of"]
