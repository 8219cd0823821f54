"""A line chart of distances over windows of frames, as SVG."""

import html
from collections.abc import Mapping, Sequence

from limbeck.pictures.views import COLOURS

WIDTH, HEIGHT, LEFT, BOTTOM = 560, 220, 46, 34


def chart(curves: Mapping[str, Mapping[tuple[int, int], float]]) -> str:
    """Lines over frames as SVG, the distance from zero up."""
    last = max(span[1] for curve in curves.values() for span in curve)
    top = 1.1 * max(value for curve in curves.values() for value in curve.values()) or 1.0

    def place(span: tuple[int, int], value: float) -> tuple[float, float]:
        middle = (span[0] + span[1]) / 2
        return LEFT + (WIDTH - LEFT - 8) * middle / last, (HEIGHT - BOTTOM) * (1 - value / top) + 4

    parts = [
        f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 8}" y2="{y:.1f}" stroke="currentColor" stroke-opacity="0.15"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        for value in (0.0, top / 2, top)
        for y in [place((0, 0), value)[1]]
    ]
    spans: Sequence[tuple[int, int]] = sorted({span for curve in curves.values() for span in curve})
    parts += [
        f'<text x="{place(span, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{span[0]}-{span[1]}</text>'
        for span in spans[:: max(1, len(spans) // 8)]
    ]
    legend = []
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [place(span, value) for span, value in curve.items()]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        legend.append(f'<span style="color:{colour}">&#9679;</span> {html.escape(name)}')
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="distance to real frames over a long rollout" '
        f'style="width:100%;max-width:{WIDTH}px;height:auto;font-size:11px" fill="currentColor">{"".join(parts)}</svg>'
        f'<p class="caption">frames; {", ".join(legend)}</p>'
    )


__all__ = ["chart"]
