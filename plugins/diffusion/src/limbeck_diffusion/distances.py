"""Distances between prediction and target: (B, *event), (B, *event) -> (B,), means over the event.

Two different functions go by the name pseudo-Huber: one of the whole sample's norm, and one of every element.
"""

from collections.abc import Callable

from torch import Tensor


def l2(a: Tensor, b: Tensor) -> Tensor:
    """mean_event (a - b)^2, (B,)."""
    return (a - b).square().flatten(1).mean(1)


def pseudo_huber(a: Tensor, b: Tensor, c: float = 0.00054) -> Tensor:
    r"""sqrt(mean_event (a - b)^2 + c^2) - c, (B,).

    Song & Dhariwal 2024 (iCT), Eq. 7, is sqrt(||a - b||^2 + C^2) - C, C = 0.00054 sqrt(d): this times sqrt(d).
    """
    return (l2(a, b) + c**2).sqrt() - c


def pseudo_huber_elements(a: Tensor, b: Tensor, c: float = 0.001) -> Tensor:
    r"""mean_event [sqrt((a - b)^2 + c^2) - c], (B,); Luo et al. 2023 (LCM), reference training script."""
    return (((a - b).square() + c**2).sqrt() - c).flatten(1).mean(1)


def distance(name: str, c: float | None = None) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance of that option name, with its c bound (None: the paper's)."""
    known = {"pseudo_huber": pseudo_huber, "pseudo_huber_elements": pseudo_huber_elements}
    if name == "l2":
        return l2
    if name not in known:
        raise ValueError(f"unknown distance {name!r}; allowed: l2, {', '.join(known)}")
    function = known[name]
    return function if c is None else lambda a, b: function(a, b, c)
