"""What panels of reports are made of: a titled piece of HTML, and a chart of lines."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limbeck.pictures.views import COLOURS

WIDTH, HEIGHT, LEFT, BOTTOM = 560, 220, 46, 34  # pixels: of the chart, and of its margins


@dataclass(frozen=True)
class Fragment:
    """What a panel returns: a title, and HTML that needs nothing outside itself."""

    title: str
    body: str

    def html(self) -> str:
        return self.body


def line_chart(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    ticks: Sequence[tuple[float, str]],
    end: float,
    label: str,
    axis: str,
) -> str:
    """Lines through points (x, y) as SVG, x from 0 to `end`, y from zero up, with a legend.

    Args:
        curves: points by the name of their line.
        ticks: (x, text) below the chart.
        label: what is drawn, for readers who cannot see it.
        axis: what x is, before the legend.
    """
    top = 1.1 * max(y for curve in curves.values() for _, y in curve) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - 8) * x / end, (HEIGHT - BOTTOM) * (1 - y / top) + 4

    parts = [
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 8}" y2="{y:.1f}" stroke="currentColor" stroke-opacity="0.15"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        for value in (0.0, top / 2, top)
        for y in [place(0, value)[1]]
    ]
    parts += [
        f'<text x="{place(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{html.escape(text)}</text>'
        for x, text in ticks
    ]
    legend = []
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(x, y) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        legend.append(f'<span style="color:{colour}">&#9679;</span> {html.escape(name)}')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label, quote=True)}" '
        f'style="width:100%;max-width:{WIDTH}px;height:auto;font-size:11px" fill="currentColor">{"".join(parts)}</svg>'
        f'<p class="caption">{html.escape(axis)}; {", ".join(legend)}</p>'
    )


__all__ = ["Fragment", "line_chart"]
