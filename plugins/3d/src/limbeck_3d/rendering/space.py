"""The space of renders."""

from limbeck.interfaces import Space

DOMAIN = "renders"


def render_space(size: int, channels: int = 3) -> Space:
    """Images (C, size, size) in [-1, 1]."""
    return Space((channels, size, size), domain=DOMAIN)


__all__ = ["DOMAIN", "render_space"]
