"""Pictures of samples: the default view, and how the view of a domain is found.

A view is `view(samples, cond, *, captions=None) -> Picture`, registered under the domain of the space it shows
(`pixels`, `clip`, ...). `vector` is the one for points in the plane, and stands in for every domain without its own.
"""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import UnknownComponent
from limbeck.interfaces import Picture

# Okabe & Ito's eight colours, which most colour-blind readers distinguish; classes beyond eight start again.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")


def picture(
    samples: Tensor, cond: Any = None, *, domain: str = "vector", captions: Sequence[str] | None = None
) -> Picture:
    """Samples (N, *event) of a domain as a Picture, by the domain's registered view or as points."""
    view = vector
    if domain != "vector":
        from limbeck.plugins.registry import resolve

        try:
            view = resolve("view", domain)
        except UnknownComponent:
            view = vector
    return view(samples, cond, captions=captions)


def grid_columns(count: int, cond: Any = None) -> int:
    """Columns of a grid of `count` samples: one per class when labels take turns, so that a column shows one class;
    otherwise a grid wider than high."""
    if isinstance(cond, Tensor) and cond.ndim == 1 and not cond.is_floating_point() and len(cond) == count:
        classes = len(cond.unique())
        if 4 <= classes <= 20 and count > classes and torch.equal(cond[classes:], cond[:-classes]):
            return classes
    return min(count, max(1, math.ceil(math.sqrt(1.6 * count)))) or 1


def vector(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> Picture:
    """Points (N, D) in the plane: the first two coordinates, coloured by class; one coordinate is drawn as a histogram.

    Samples with more axes are flattened first. Captions are not drawn: points have no room for them.
    """
    points = samples.detach().float().cpu().flatten(1)
    labels = cond.detach().cpu().long() if isinstance(cond, Tensor) and cond.ndim == 1 else None
    return Histogram(points[:, 0]) if points.shape[1] == 1 else Scatter(points[:, :2], labels)


def _limits(values: Tensor) -> tuple[float, float]:
    """A range that holds all but the farthest 0.5 % on each side, widened by a tenth."""
    finite = values[torch.isfinite(values)]
    if len(finite) == 0:
        return -1.0, 1.0
    low, high = torch.quantile(finite[:100_000], torch.tensor([0.005, 0.995])).tolist()
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


class _Drawing(Picture):
    """Something drawn once as a list of shapes, saved as PNG and shown as SVG."""

    size = 320

    def shapes(self) -> list[tuple[str, tuple[float, float, float, float], str]]:
        """(kind, (x0, y0, x1, y1) in pixels, colour), kind being `dot` or `bar`."""
        raise NotImplementedError

    def label(self) -> str:
        raise NotImplementedError

    def save(self, path: Any) -> None:
        from PIL import Image, ImageDraw

        scale = 2  # drawn at twice the size and reduced, which smooths the edges
        image = Image.new("RGB", (self.size * scale, self.size * scale), "white")
        draw = ImageDraw.Draw(image)
        for kind, box, colour in self.shapes():
            scaled = [scale * value for value in box]
            if kind == "dot":
                draw.ellipse(scaled, fill=colour)
            else:
                draw.rectangle(scaled, fill=colour)
        image.resize((self.size, self.size), Image.Resampling.LANCZOS).save(Path(path))

    def html(self) -> str:
        parts = []
        for kind, (x0, y0, x1, y1), colour in self.shapes():
            if kind == "dot":
                x, y, r = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colour}" fill-opacity="0.7"/>')
            else:
                size = f'width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
                parts.append(f'<rect x="{x0:.1f}" y="{y0:.1f}" {size} fill="{colour}"/>')
        label = html.escape(self.label(), quote=True)
        return (
            f'<svg viewBox="0 0 {self.size} {self.size}" role="img" aria-label="{label}" '
            f'style="width:100%;max-width:{self.size * 2}px;height:auto">{"".join(parts)}</svg>'
        )


class Scatter(_Drawing):
    """Points (N, 2), coloured by label."""

    def __init__(self, points: Tensor, labels: Tensor | None = None):
        self.points, self.labels = points, labels

    def label(self) -> str:
        return f"scatter plot of {len(self.points)} samples"

    def shapes(self):
        (x_low, x_high), (y_low, y_high) = _limits(self.points[:, 0]), _limits(self.points[:, 1])
        shown = self.points[:2000]  # more dots would hide each other, and would make pages heavy
        radius = 3.0 if len(shown) <= 300 else 1.8
        drawn = []
        for k, (px, py) in enumerate(shown.tolist()):
            x = (px - x_low) / (x_high - x_low) * self.size
            y = (y_high - py) / (y_high - y_low) * self.size
            if 0 <= x <= self.size and 0 <= y <= self.size:  # false for nan
                colour = COLOURS[int(self.labels[k]) % len(COLOURS)] if self.labels is not None else COLOURS[0]
                drawn.append(("dot", (x - radius, y - radius, x + radius, y + radius), colour))
        return drawn


class Histogram(_Drawing):
    """Values (N,) in 40 bins."""

    def __init__(self, values: Tensor, bins: int = 40):
        self.values, self.bins = values, bins

    def label(self) -> str:
        return f"histogram of {len(self.values)} samples"

    def shapes(self):
        low, high = _limits(self.values)
        counts = torch.histc(self.values[torch.isfinite(self.values)], self.bins, low, high)
        tallest, width = max(float(counts.max()), 1.0), self.size / self.bins
        return [
            ("bar", (k * width, self.size * (1 - 0.95 * count / tallest), (k + 0.9) * width, self.size), COLOURS[0])
            for k, count in enumerate(counts.tolist())
            if count
        ]
