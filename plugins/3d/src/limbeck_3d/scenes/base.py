"""What all scenes share: cameras, backgrounds, particles, weights that follow steps.

A scene renders `Conditions` with a camera per row and, if there is one, a background (B, 3) in [-1, 1]. With
`particles` P > 1 there are P independent scenes side by side; row b shows the one of `cond["particle"]` (B,), else
number b mod P. Letters: B views, C channels, H W pixels, P particles.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError, NonFinite
from limbeck.networks.scenes import Cameras, Render, Scene
from limbeck.scheduled import Ramp, value_at
from limbeck_3d.geometry.field import FieldGrid


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
        """Weighted regularisers (B,), while training; `found` maps names to functions that return (B,) or (1,), called
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
    """A scene that fills space: exporters take its values on a grid."""

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


__all__ = ["FieldScene", "Particles", "cameras_of"]
