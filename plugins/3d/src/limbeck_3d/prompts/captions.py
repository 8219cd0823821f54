"""Prompts as tokens: a fixed word list, and view words from the camera.

A row of tokens is (L,) int64: the first is the view (0: none), then come the words without articles, then zeros.
All zeros is the unconditional input.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.networks.scenes import Cameras
from limbeck_3d.prompts.words import LENGTH, VIEWS, WORDS, words_of

OVERHEAD = 50.0  # degrees of elevation above which a view is overhead


def encode(prompt: str) -> Tensor:
    """Tokens of one prompt, (L,) int64; the first is 0 unless the prompt names a view."""
    words, view = words_of(prompt)
    ids = [WORDS.index(view), *(WORDS.index(word) for word in words)]
    return torch.tensor(ids + [0] * (LENGTH - len(ids)))


def decode(tokens: Tensor) -> list[str]:
    """Captions of tokens (B, L): "red torus on blue box, front view"."""
    captions = []
    for view, *words in tokens.tolist():
        caption = " ".join(WORDS[word] for word in words if word)
        captions.append(f"{caption}, {WORDS[view]} view" if view else caption)
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


__all__ = ["decode", "encode", "encode_all", "views", "with_views"]
