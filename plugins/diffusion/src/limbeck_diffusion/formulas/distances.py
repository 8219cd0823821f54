"""Distances between prediction and target: (B, *event), (B, *event) -> (B,), means over the event.

Two different functions go by the name pseudo-Huber: one of the whole sample's norm, and one of every element. All take
a mask over the event; `padding` is then what a mean divides by.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

Padding = Literal["excluded", "counted"]


def event_mean(error: Tensor, mask: Tensor | None = None, padding: Padding = "excluded") -> Tensor:
    """sum_event(m e) / sum_event(m); with padding counted, / numel(event), as CoMoSpeech's code averages. (B,).

    Args:
        error: (B, *event).
        mask: true where an element counts; broadcasts against error (frames of a mel: (B, 1, 1, frames)). None: all.
    """
    if mask is None:
        return error.flatten(1).mean(1)
    total = torch.where(mask, error, 0.0).flatten(1).sum(1)
    if padding == "counted":
        return total / error[0].numel()
    return total / mask.expand_as(error).flatten(1).sum(1).clamp_min(1)


def l2(a: Tensor, b: Tensor, mask: Tensor | None = None, padding: Padding = "excluded") -> Tensor:
    """mean_event (a - b)^2, (B,)."""
    return event_mean((a - b).square(), mask, padding)


def pseudo_huber(
    a: Tensor, b: Tensor, c: float = 0.00054, mask: Tensor | None = None, padding: Padding = "excluded"
) -> Tensor:
    r"""sqrt(mean_event (a - b)^2 + c^2) - c, (B,).

    Song & Dhariwal 2024 (iCT), Eq. 7, is sqrt(||a - b||^2 + C^2) - C, C = 0.00054 sqrt(d): this times sqrt(d).
    """
    return (l2(a, b, mask, padding) + c**2).sqrt() - c


def pseudo_huber_elements(
    a: Tensor, b: Tensor, c: float = 0.001, mask: Tensor | None = None, padding: Padding = "excluded"
) -> Tensor:
    r"""mean_event [sqrt((a - b)^2 + c^2) - c], (B,); Luo et al. 2023 (LCM), reference training script."""
    return event_mean(((a - b).square() + c**2).sqrt() - c, mask, padding)


def distance(name: str, c: float | None = None) -> Callable[..., Tensor]:
    """The distance of that option name, with its c bound (None: the paper's): (a, b, mask=, padding=) -> (B,)."""
    known: dict[str, Callable[..., Tensor]] = {
        "pseudo_huber": pseudo_huber,
        "pseudo_huber_elements": pseudo_huber_elements,
    }
    if name == "l2":
        return l2
    if name not in known:
        raise ValueError(f"unknown distance {name!r}; allowed: l2, {', '.join(known)}")
    return known[name] if c is None else partial(known[name], c=c)
