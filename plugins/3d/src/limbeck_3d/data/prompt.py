"""Data `prompt`: one prompt seen from everywhere, with the true mesh where there is one.

Conditions and images are those of `solids`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Data
from limbeck.randomness import Rng
from limbeck_3d.data.cameras import conditions_of, orbit_cameras, random_cameras, rows_of
from limbeck_3d.data.solids import LICENCE
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.options.data import PromptOptions
from limbeck_3d.prompts import captions
from limbeck_3d.prompts.solids import parse
from limbeck_3d.prompts.words import WORDS
from limbeck_3d.rendering.rasterise import over, rasterise
from limbeck_3d.rendering.space import render_space

VIEWS = 240  # rows of each split


class Prompt(Data):
    """One prompt seen from everywhere: what a scene is distilled for and measured against.

    `mesh()` is the true mesh, None when the prompt describes none that could be built; rows then have no x0. The split
    `held_out` and `conditions` are evenly spaced cameras in front of grey; the split `train` random ones in front of
    random backgrounds.

    For a teacher with a text encoder (`teacher.encode`: a pipeline's), every row's caption is encoded beside the tokens
    and the camera.
    """

    Options = PromptOptions
    encoder: Callable[[Sequence[str]], Any] | None = None

    def __init__(self, **options: Any):
        self.options = PromptOptions(**options)
        self.space = render_space(self.options.size)
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
        self.encoder = getattr(teacher, "encode", None)

    def captions(self, cond: Conditions) -> list[str]:
        """What every row shows, in words: "red torus, front view"."""
        if not self.options.caption:
            return captions.decode(cond["text"])
        views = [WORDS[view] for view in cond["text"][:, 0].tolist()]
        return [f"{self.options.caption}, {view} view" if view else self.options.caption for view in views]

    def with_captions(self, cond: Conditions) -> Conditions:
        """`cond` with its captions as the teacher encodes them, if it has a text encoder."""
        if self.encoder is None:
            return cond
        encoded = self.encoder(self.captions(cond))
        if not isinstance(encoded, Conditions):
            raise LimbeckError(
                "a scene is described in words, and this teacher knows classes only. Use a pipeline with a text encoder"
            )
        return Conditions({**cond, **encoded.to(cond["text"].device)})

    def mesh(self) -> Any:
        """The true, coloured trimesh of the prompt, or None."""
        if self.options.caption:
            return None
        solid = parse(self.prompt)
        return None if solid is None else build(solid)

    def batch(self, indices: Tensor) -> Batch:
        rows = indices.cpu()
        cond = conditions_of(self.tokens, rows_of(self.cameras, rows), self.backgrounds[rows], self.options.view_words)
        if self._images is None and (mesh := self.mesh()) is not None:
            seen = rasterise(surface(mesh, self.prompt), self.cameras, self.options.size)
            self._images = over(seen.colour, seen.alpha, self.backgrounds)
        x0 = None if self._images is None else self._images[rows]
        return Batch(x0=x0, cond=self.with_captions(cond)).to(indices.device)

    def split(self, name: Literal["train", "held_out"]) -> "Prompt":
        other = Prompt(**{**self.options.model_dump(), "split": name})
        other.encoder = self.encoder
        return other

    def conditions(self, count: int, rng: Rng) -> Conditions:
        """Evenly spaced cameras in front of grey: the same for everyone, whatever the seed."""
        cameras = orbit_cameras(count, self.options)
        return self.with_captions(conditions_of(self.tokens, cameras, torch.zeros(count, 3), self.options.view_words))


__all__ = ["VIEWS", "Prompt"]
