"""Prompts as tokens: a fixed word list, and view words from the camera.

A row of tokens is (L,) int64: the first is the view (0: none said), then come the words without articles, then zeros.
All zeros is the unconditional input.
"""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.scenes import Cameras

COLOURS = {
    "red": (0.85, 0.12, 0.12), "green": (0.13, 0.62, 0.2), "blue": (0.15, 0.28, 0.85), "yellow": (0.95, 0.85, 0.12),
    "purple": (0.55, 0.15, 0.7), "orange": (0.95, 0.48, 0.08), "cyan": (0.1, 0.75, 0.85), "grey": (0.55, 0.55, 0.55),
}  # fmt: skip
SHAPES = ("sphere", "box", "cylinder", "cone", "torus", "capsule", "cross", "pyramid", "chair")
MESHES = ("airplane", "ant", "nut")  # brought by pyvista
VIEWS = ("front", "side", "back", "overhead")
ARTICLES = ("a", "an", "the")
WORDS = ("", *VIEWS, *COLOURS, *SHAPES, *MESHES, "on")  # the token of a word is its place
LENGTH = 6  # view, colour, shape, on, colour, shape
OVERHEAD = 50.0  # degrees of elevation above which a view is overhead


def words_of(prompt: str) -> tuple[list[str], str]:
    """The words of a prompt without articles, and the view that it names itself ("" if none).

    Raises ValueError for an empty prompt, unknown words and prompts that are too long.
    """
    words = [word for word in prompt.lower().replace(",", " ").replace(".", " ").split() if word not in ARTICLES]
    view = ""
    if words[-1:] == ["view"]:
        view = words[-2] if len(words) > 1 else ""
        if view not in VIEWS:
            raise ValueError(
                f"the prompt '{prompt}' names the view '{view}'; known views: {', '.join(f'{v} view' for v in VIEWS)}. "
                "Without one, every camera adds its own"
            )
        words = words[:-2]
    if not words:
        raise ValueError(f"the prompt '{prompt}' is empty: say what to make, for example 'a red torus on a blue box'")
    sayable = [word for word in WORDS[1:] if word not in VIEWS]
    for word in words:
        if word not in sayable:
            near = difflib.get_close_matches(word, sayable, n=3, cutoff=0.5)
            hint = f"Nearest: {', '.join(near)}. " if near else ""
            raise ValueError(f"the prompt '{prompt}' has the unknown word '{word}'. {hint}Known: {', '.join(sayable)}")
    if len(words) > LENGTH - 1:
        raise ValueError(
            f"the prompt '{prompt}' has {len(words)} words without articles; the teacher reads {LENGTH - 1}, "
            "as in 'a red torus on a blue box'"
        )
    return words, view


def encode(prompt: str) -> Tensor:
    """Tokens of one prompt, (L,) int64; the first is 0 unless the prompt names a view."""
    words, view = words_of(prompt)
    ids = [WORDS.index(view), *(WORDS.index(word) for word in words)]
    return torch.tensor(ids + [0] * (LENGTH - len(ids)))


def decode(tokens: Tensor) -> list[str]:
    """Captions of tokens (B, L): "red torus on blue box, front view"."""
    captions = []
    for view, *words in tokens.tolist():
        said = " ".join(WORDS[word] for word in words if word)
        captions.append(f"{said}, {WORDS[view]} view" if view else said)
    return captions


def views(cameras: Cameras) -> Tensor:
    """Index into VIEWS for every camera, (B,): overhead above 50 degrees, else front within 45 degrees of azimuth 0,
    back within 45 degrees of 180, side between."""
    turn = (cameras.azimuth + 180) % 360 - 180
    found = torch.where(turn.abs() <= 45, 0, torch.where(turn.abs() >= 135, 2, 1))
    return torch.where(cameras.elevation > OVERHEAD, 3, found)


def with_views(tokens: Tensor, cameras: Cameras) -> Tensor:
    """Tokens (B, L) whose view is that of the camera, unless the prompt names one."""
    out = tokens.clone()
    out[:, 0] = torch.where(tokens[:, 0] == 0, views(cameras) + WORDS.index(VIEWS[0]), tokens[:, 0])
    return out


def encode_all(prompts: Sequence[str]) -> Tensor:
    return torch.stack([encode(prompt) for prompt in prompts])


__all__ = ["COLOURS", "LENGTH", "MESHES", "SHAPES", "VIEWS", "WORDS", "decode", "encode", "encode_all", "views", "with_views", "words_of"]
