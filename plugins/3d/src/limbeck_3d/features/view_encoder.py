"""The classifier of renders: which shape in which colour, on what, and from which side.

A small convolutional network with five heads on one trunk. It is trained on renders of `3d/solids` (see
`train_view_encoder`), blurred and noised at random, because distilled scenes are softer than meshes.
"""

from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck_3d.prompts.solids import BASES
from limbeck_3d.prompts.words import COLOURS, LENGTH, MESHES, SHAPES, VIEWS, WORDS

SIZE = 32
HEADS = {
    "view": list(VIEWS),
    "colour": list(COLOURS),
    "shape": [*SHAPES, *MESHES],
    "below": ["", *COLOURS],
    "base": ["", *BASES],
}
PLACES = {"view": 0, "colour": 1, "shape": 2, "below": 4, "base": 5}  # in a row of tokens


class ViewClassifier(nn.Module):
    """(B, 3, 32, 32) in [-1, 1] -> logits by head, each (B, choices)."""

    def __init__(self, width: int = 24):
        super().__init__()

        def stage(inner: int, outer: int) -> list[nn.Module]:
            return [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.GroupNorm(4, outer), nn.SiLU()]

        self.body = nn.Sequential(
            *stage(3, width), *stage(width, 2 * width), *stage(2 * width, 3 * width),
            nn.Flatten(), nn.Linear(3 * width * 16, 128), nn.SiLU(),
        )  # fmt: skip
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(choices)) for name, choices in HEADS.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        hidden = self.body(images)
        return {name: head(hidden) for name, head in self.heads.items()}


def targets(text: Tensor) -> dict[str, Tensor]:
    """Tokens (B, L) as choices by head, (B,) each; -1 where a caption has none of the head's words."""
    found = {}
    for name, choices in HEADS.items():
        table = torch.full((len(WORDS),), -1)
        for choice, word in enumerate(choices):
            table[WORDS.index(word)] = choice
        found[name] = table[text[:, PLACES[name]].cpu()]
    return found


@lru_cache(maxsize=1)
def bundled() -> ViewClassifier:
    """The shipped classifier, frozen."""
    from limbeck.export.teacher_files import read

    state, _ = read(str(resources.files("limbeck_3d") / "assets" / "view_classifier.safetensors"))
    network = ViewClassifier()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def describe(images: Tensor, batch: int = 500) -> dict[str, Tensor]:
    """The classes that the bundled classifier predicts for images (N, 3, H, W), by head, (N,) each, on the CPU."""
    images = images.detach().float().cpu()
    if images.shape[-1] != SIZE:
        images = functional.interpolate(images, size=(SIZE, SIZE), mode="area")
    logits = [bundled()(chunk) for chunk in images.split(batch)]
    return {name: torch.cat([each[name].argmax(dim=1) for each in logits]) for name in HEADS}


assert max(PLACES.values()) < LENGTH

__all__ = ["HEADS", "PLACES", "SIZE", "ViewClassifier", "bundled", "describe", "targets"]
