"""Data `solids`: renders of captioned solids, alone and on pedestals, in front of random backgrounds.

A row's condition is `Conditions(text (B, L), azimuth, elevation, distance, fov (B,), background (B, 3) in [-1, 1])`;
its x0 the render in front of that background, (B, 3, H, W) in [-1, 1]. Backgrounds have any colour, so that nothing can
hide in front of one. Colours and backgrounds are put on when a row is requested; what is kept are the light on each
part of a scene and its coverage, in 8 bits.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.interfaces import Batch, Data
from limbeck.networks.scenes import Cameras
from limbeck.randomness import Rng
from limbeck_3d.data.cameras import conditions_of, random_cameras, rows_of
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.options.data import SolidsOptions
from limbeck_3d.prompts.solids import BASES, TOPS, Solid
from limbeck_3d.prompts.words import COLOURS, MESHES, SHAPES, WORDS
from limbeck_3d.rendering.rasterise import over, rasterise
from limbeck_3d.rendering.space import render_space

LICENCE = "renders made by limbeck-3d of its own solids (Apache-2.0)"
MESHES_LICENCE = LICENCE + " and of pyvista's example meshes airplane, ant and nut (MIT)"
COPIES = 16  # colourings and backgrounds of every render
HELD_OUT = 8  # one prompt in so many is never trained on
PALETTE = torch.tensor(list(COLOURS.values()))


@dataclass(frozen=True)
class _Renders:
    """What is kept of N renders: which scene, from where, light on both parts and coverage (N, 3, H, W) uint8."""

    scene: Tensor
    cameras: Cameras
    light: Tensor


def is_held_out(shape: Tensor, colour: Tensor, below: Tensor) -> Tensor:
    """One prompt in HELD_OUT: (3 shape + colour + colour of the base) mod 8 = 3. All (B,) int64; without a base `below`
    is 0."""
    return (3 * shape + colour + below) % HELD_OUT == 3


class Solids(Data):
    """Renders of every shape and of every pair of shapes, in random colours, in front of random backgrounds.

    Rows of the split `held_out` are new views of prompts that no training row has.
    """

    Options = SolidsOptions

    def __init__(self, **options: Any):
        self.options = SolidsOptions(**options)
        self.space = render_space(self.options.size)
        self.licence = MESHES_LICENCE if self.options.meshes else LICENCE
        self.scenes = scenes(self.options.meshes)
        self.renders = _renders(self.options)
        names = (*SHAPES, *MESHES)
        self._shape = torch.tensor([names.index(shape) for shape, _ in self.scenes])
        self._base = torch.tensor([-1 if base is None else names.index(base) for _, base in self.scenes])
        copies = COPIES if self.options.split == "train" else 1
        count = copies * len(self.renders.scene)
        rng = Rng(0, phase=f"solids/{self.options.split}")
        scene = self.renders.scene.repeat(copies)
        below = torch.where(self._base[scene] < 0, 0, rng.integers("below", len(PALETTE), (count,)))
        colour = rng.integers("colour", len(PALETTE), (count,))
        out = is_held_out(self._shape[scene], colour, below)
        if self.options.split == "train":
            colour = torch.where(out, (colour + 1) % len(PALETTE), colour)
        else:
            colour = (3 - 3 * self._shape[scene] - below) % HELD_OUT
        self.colours = torch.stack([colour, below], dim=1)  # (rows, 2)
        self.backgrounds = 2 * rng.uniform("background", (count, 3)) - 1

    def __len__(self) -> int:
        return len(self.colours)

    def batch(self, indices: Tensor) -> Batch:
        rows = indices.cpu()
        kept = rows % len(self.renders.scene)
        light = self.renders.light[kept].float() / 255  # (B, 3, H, W)
        paint = PALETTE[self.colours[rows]]  # (B, 2, 3)
        colour = torch.einsum("bphw,bpc->bchw", light[:, :2], paint)
        background = self.backgrounds[rows]
        x0 = over(colour, light[:, 2:], background)
        cameras = rows_of(self.renders.cameras, kept)
        cond = conditions_of(self.tokens(rows), cameras, background, self.options.view_words)
        return Batch(x0=x0, cond=cond).to(indices.device)

    def tokens(self, rows: Tensor) -> Tensor:
        """Captions without view words, (B, L)."""
        scene = self.renders.scene[rows % len(self.renders.scene)]
        first_colour = WORDS.index(next(iter(COLOURS)))
        first_shape = WORDS.index(SHAPES[0])
        paired = self._base[scene] >= 0
        colour, below = (self.colours[rows] + first_colour).unbind(1)
        nothing = torch.zeros_like(colour)
        on = torch.where(paired, WORDS.index("on"), nothing)
        below, base = torch.where(paired, below, nothing), torch.where(paired, self._base[scene] + first_shape, nothing)
        return torch.stack([nothing, colour, self._shape[scene] + first_shape, on, below, base], dim=1)

    def split(self, name: Literal["train", "held_out"]) -> "Solids":
        return Solids(**{**self.options.model_dump(), "split": name})


def scenes(meshes: bool = False) -> list[tuple[str, str | None]]:
    """(shape, shape of the base or None) of everything that is rendered."""
    single: list[tuple[str, str | None]] = [(s, None) for s in (*SHAPES, *(MESHES if meshes else ()))]
    return [*single, *((top, base) for base in BASES for top in TOPS)]


@lru_cache(maxsize=8)
def _renders(options: SolidsOptions) -> _Renders:
    held_out = options.split == "held_out"
    light, scene, cameras = [], [], []
    for index, (shape, base) in enumerate(scenes(options.meshes)):
        count = max(1, (options.views if base is None else options.views // 2) // (8 if held_out else 1))
        where = random_cameras(Rng(0, phase=f"solids/{options.split}/{shape}/{base}"), count, options)
        made = build(Solid(shape, "grey", None if base is None else Solid(base, "grey")))
        seen = rasterise(surface(made, shape), where, options.size, parts=2)
        light.append((255 * torch.cat([seen.shade, seen.alpha], dim=1)).round().to(torch.uint8))
        scene.append(torch.full((count,), index))
        cameras.append(where)
    together = Cameras(
        **{name: torch.cat([getattr(c, name) for c in cameras]) for name in ("azimuth", "elevation", "distance", "fov")}
    )
    return _Renders(torch.cat(scene), together, torch.cat(light))


__all__ = ["COPIES", "LICENCE", "Solids", "is_held_out", "scenes"]
