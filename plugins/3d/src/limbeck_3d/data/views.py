"""Data of limbeck-3d: renders of captioned solids (`solids`), and one prompt seen from everywhere (`prompt`).

A row's condition is `Conditions(text (B, L), azimuth, elevation, distance, fov (B,), background (B, 3) in [-1, 1])`;
its x0 the render in front of that background, (B, 3, H, W) in [-1, 1]. Backgrounds have any colour, so that nothing can
hide in front of one. Colours and backgrounds are put on when a row is asked for; what is kept are the light on each
part of a scene and its coverage, in 8 bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data, Source, Space
from limbeck.networks.scenes import Cameras
from limbeck.randomness import Rng
from limbeck_3d.data import captions, solids
from limbeck_3d.options.models import CameraOptions, PromptOptions, SolidsOptions
from limbeck_3d.rendering.rasterise import over, rasterise

DOMAIN = "renders"
LICENCE = "renders made by limbeck-3d of its own solids (Apache-2.0)"
MESHES_LICENCE = LICENCE + " and of pyvista's example meshes airplane, ant and nut (MIT)"
COPIES = 16  # colourings and backgrounds of every render
HELD_OUT = 8  # one prompt in so many is never trained on
PALETTE = torch.tensor(list(captions.COLOURS.values()))


def space(size: int) -> Space:
    return Space((3, size, size), domain=DOMAIN)


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


def conditions_of(tokens: Tensor, cameras: Cameras, background: Tensor, view_words: bool = True) -> Conditions:
    """Tokens (B, L) or (L,), cameras and backgrounds (B, 3) as one."""
    text = tokens.expand(len(cameras), -1)
    return Conditions(
        text=captions.with_views(text, cameras) if view_words else text,
        azimuth=cameras.azimuth, elevation=cameras.elevation, distance=cameras.distance, fov=cameras.fov,
        background=background,
    )  # fmt: skip


# --- many prompts ----------------------------------------------------------------------------------------------------


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
        self.space = space(self.options.size)
        self.licence = MESHES_LICENCE if self.options.meshes else LICENCE
        self.scenes = scenes(self.options.meshes)
        self.renders = _renders(self.options)
        names = (*captions.SHAPES, *captions.MESHES)
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
        cameras = _some(self.renders.cameras, kept)
        cond = conditions_of(self.tokens(rows), cameras, background, self.options.view_words)
        return Batch(x0=x0, cond=cond).to(indices.device)

    def tokens(self, rows: Tensor) -> Tensor:
        """Captions without view words, (B, L)."""
        scene = self.renders.scene[rows % len(self.renders.scene)]
        first_colour = captions.WORDS.index(next(iter(captions.COLOURS)))
        first_shape = captions.WORDS.index(captions.SHAPES[0])
        paired = self._base[scene] >= 0
        colour, below = (self.colours[rows] + first_colour).unbind(1)
        nothing = torch.zeros_like(colour)
        on = torch.where(paired, captions.WORDS.index("on"), nothing)
        below, base = torch.where(paired, below, nothing), torch.where(paired, self._base[scene] + first_shape, nothing)
        return torch.stack([nothing, colour, self._shape[scene] + first_shape, on, below, base], dim=1)

    def split(self, name: Literal["train", "held_out"]) -> "Solids":
        return Solids(**{**self.options.model_dump(), "split": name})


def scenes(meshes: bool = False) -> list[tuple[str, str | None]]:
    """(shape, shape of the base or None) of everything that is rendered."""
    single: list[tuple[str, str | None]] = [(s, None) for s in (*captions.SHAPES, *(captions.MESHES if meshes else ()))]
    return [*single, *((top, base) for base in solids.BASES for top in solids.TOPS)]


@lru_cache(maxsize=8)
def _renders(options: SolidsOptions) -> _Renders:
    held_out = options.split == "held_out"
    light, scene, cameras = [], [], []
    for index, (shape, base) in enumerate(scenes(options.meshes)):
        count = max(1, (options.views if base is None else options.views // 2) // (8 if held_out else 1))
        where = random_cameras(Rng(0, phase=f"solids/{options.split}/{shape}/{base}"), count, options)
        made = solids.build(solids.Solid(shape, "grey", None if base is None else solids.Solid(base, "grey")))
        seen = rasterise(solids.surface(made, shape), where, options.size, parts=2)
        light.append((255 * torch.cat([seen.shade, seen.alpha], dim=1)).round().to(torch.uint8))
        scene.append(torch.full((count,), index))
        cameras.append(where)
    together = Cameras(
        **{name: torch.cat([getattr(c, name) for c in cameras]) for name in ("azimuth", "elevation", "distance", "fov")}
    )
    return _Renders(torch.cat(scene), together, torch.cat(light))


def _some(cameras: Cameras, rows: Tensor) -> Cameras:
    return Cameras(
        azimuth=cameras.azimuth[rows], elevation=cameras.elevation[rows],
        distance=cameras.distance[rows], fov=cameras.fov[rows],
    )  # fmt: skip


# --- one prompt ------------------------------------------------------------------------------------------------------

VIEWS = 240  # rows of each split


class Prompt(Data):
    """One prompt seen from everywhere: what a scene is distilled for and measured against.

    `mesh()` is the true mesh, None when the prompt describes none that could be built; rows then have no x0. The split
    `held_out` and `conditions` are evenly spaced cameras in front of grey; the split `train` random ones in front of
    random backgrounds.

    A teacher that reads prompts (`teacher.encode`: a pipeline's) gets what it makes of every row's caption beside the
    tokens and the camera.
    """

    Options = PromptOptions
    reader: Callable[[Sequence[str]], Any] | None = None

    def __init__(self, **options: Any):
        self.options = PromptOptions(**options)
        self.space = space(self.options.size)
        self.tokens = captions.encode(self.options.prompt)
        self.prompt = self.options.prompt
        self.licence = LICENCE
        rng = Rng(0, phase=f"prompt/{self.options.split}")
        if self.options.split == "train":
            self.cameras = random_cameras(rng, VIEWS, self.options)
            self.backgrounds = 2 * rng.uniform("background", (VIEWS, 3)) - 1
        else:
            self.cameras = orbit_cameras(VIEWS, self.options)
            self.backgrounds = torch.zeros(VIEWS, 3)
        self._images: Tensor | None = None

    def __len__(self) -> int:
        return VIEWS

    def prepare(self, teacher: Any) -> None:
        self.reader = getattr(teacher, "encode", None)

    def captions(self, cond: Conditions) -> list[str]:
        """What every row shows, in words: "red torus, front view"."""
        if not self.options.caption:
            return captions.decode(cond["text"])
        views = [captions.WORDS[view] for view in cond["text"][:, 0].tolist()]
        return [f"{self.options.caption}, {view} view" if view else self.options.caption for view in views]

    def _with_prompt(self, cond: Conditions) -> Conditions:
        """`cond` with what the teacher reads of its captions, if it reads any."""
        if self.reader is None:
            return cond
        read = self.reader(self.captions(cond))
        if not isinstance(read, Conditions):
            raise LimbeckError(
                "a scene is described in words, and this teacher knows classes only. Use a pipeline with a text encoder"
            )
        return Conditions({**cond, **read.to(cond["text"].device)})

    def mesh(self) -> Any:
        """The true, coloured trimesh of the prompt, or None."""
        if self.options.caption:
            return None
        solid = solids.parse(self.prompt)
        return None if solid is None else solids.build(solid)

    def batch(self, indices: Tensor) -> Batch:
        rows = indices.cpu()
        cond = conditions_of(self.tokens, _some(self.cameras, rows), self.backgrounds[rows], self.options.view_words)
        if self._images is None and (mesh := self.mesh()) is not None:
            seen = rasterise(solids.surface(mesh, self.prompt), self.cameras, self.options.size)
            self._images = over(seen.colour, seen.alpha, self.backgrounds)
        x0 = None if self._images is None else self._images[rows]
        return Batch(x0=x0, cond=self._with_prompt(cond)).to(indices.device)

    def split(self, name: Literal["train", "held_out"]) -> "Prompt":
        other = Prompt(**{**self.options.model_dump(), "split": name})
        other.reader = self.reader
        return other

    def conditions(self, count: int, rng: Rng) -> Conditions:
        """Evenly spaced cameras in front of grey: the same for everyone, whatever the seed."""
        cameras = orbit_cameras(count, self.options)
        return self._with_prompt(conditions_of(self.tokens, cameras, torch.zeros(count, 3), self.options.view_words))


class RandomCameras(Source):
    """Cameras all around the prompt of the data, each in front of a background of its own.

    Draws: azimuth, elevation, distance, fov, background.
    """

    Options = CameraOptions

    def __init__(self, data: Data | None = None, teacher: Any = None, generator: Any = None, **options: Any):
        options.pop("objective", None)  # a partner that this source does not need
        if not isinstance(data, Prompt):
            raise LimbeckError(
                f"the source 'cameras' looks at one prompt; the recipe's data is {type(data).__name__}. "
                "Use data: {use: 3d/prompt, prompt: 'a red torus'}"
            )
        self.options = CameraOptions(**options)
        self.data = data

    def batch(self, size: int, rng: Rng) -> Batch:
        cameras = random_cameras(rng, size, self.options)
        background = 2 * rng.uniform("background", (size, 3)) - 1
        tokens = self.data.tokens.to(rng.device)
        return Batch(cond=self.data._with_prompt(conditions_of(tokens, cameras, background, self.options.view_words)))


__all__ = [
    "Prompt", "RandomCameras", "Solids", "conditions_of", "is_held_out", "orbit_cameras", "random_cameras", "scenes",
    "space",
]  # fmt: skip
