"""Sections of reports of video runs: how a streaming student drifts, window by window."""

import copy
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from limbeck.errors import CheckpointError
from limbeck.interfaces import unwrap
from limbeck.pictures.views import COLOURS
from limbeck_video.metrics.clips import decoded
from limbeck_video.metrics.drift import Drift
from limbeck_video.samplers.rollouts import long_rollout, streams
from limbeck_video.views.clips import clip

WIDTH, HEIGHT, LEFT, BOTTOM = 560, 220, 46, 34
SHOWN = 8  # rollouts


@dataclass(frozen=True)
class Fragment:
    """A title and HTML that needs nothing outside itself."""

    title: str
    body: str

    def html(self) -> str:
        return self.body


def drift(run: Any) -> Fragment | None:
    """The curve of every row of the final table that has one, beside that of real clips. None before the first."""
    curves = {row["name"]: found for row in run.evaluation["rows"] if (found := curve_of(row["metrics"]))}
    if not curves:
        return None
    measured = [row for row in run.evaluation["rows"] if row["name"] in curves]
    real = _real(run)
    if real:
        curves["real clips, continued"] = real
    lines = []
    for row in measured:
        numbers = row["metrics"]
        lines.append(
            f"<li>{html.escape(row['name'])}: the distance grows by {100 * numbers['drift']:.0f} % at the worst; "
            f"{_share(numbers['frozen'])} freeze, {_share(numbers['empty'])} empty.</li>"
        )
    return Fragment(
        "Long rollouts",
        f"{chart(curves)}<ul>{''.join(lines)}</ul>{_clips(run)}"
        '<p class="caption">Per-frame Frechet distance to training clips, window by window, of clips that go on for '
        "longer than any that was trained on. The same number of clips everywhere; few clips make every distance "
        "larger, that of real ones too.</p>",
    )


def _metric(run: Any) -> Drift | None:
    metrics = (getattr(run.built, "metrics", None) or {}).values()
    return next((metric for metric in metrics if isinstance(metric, Drift)), None)


def _clips(run: Any) -> str:
    """A few rollouts of the student from beginning to end, moving. Empty where it is not sampled in a stream, or has no
    checkpoint yet."""
    metric, sampler = _metric(run), run.built.sampler
    if metric is None or not streams(sampler):
        return ""
    try:
        network = copy.deepcopy(unwrap(run.generator())).cpu().eval()  # the run goes on with its own
    except CheckpointError:
        return ""
    part = run.built.data.split("held_out")
    cond = part.batch(torch.arange(min(SHOWN, len(part)))).cond
    rows = SHOWN if cond is None else len(cond)
    made = long_rollout(network, sampler, cond, frames=metric.frames, steps=run.built.sampling_steps, rows=rows)
    shown = clip(decoded(made, run.built.data), cond)
    return (
        f'{shown.html()}<p class="caption">The student over {metric.frames} frames, with the labels below each '
        "clip.</p>"
    )


def curve_of(metrics: Mapping[str, Any]) -> dict[tuple[int, int], float]:
    """(first frame, last frame) -> distance, from numbers named frames_1_12, frames_13_24, ..."""
    found = {}
    for name, value in metrics.items():
        parts = name.split("_")
        if parts[0] == "frames" and len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            if isinstance(value, int | float):
                found[int(parts[1]), int(parts[2])] = float(value)
    return dict(sorted(found.items()))


def _real(run: Any) -> dict[tuple[int, int], float]:
    """The curve of held-out clips of the same number and length, where the data has them."""
    metric = _metric(run)
    curve = metric.real_curve(run.built.data) if metric is not None else None
    if metric is None or curve is None:
        return {}
    return {(k * metric.window + 1, (k + 1) * metric.window): value for k, value in enumerate(curve.distance.tolist())}


def _share(value: float) -> str:
    return "none" if value == 0 else f"{100 * value:.0f} % of clips"


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


__all__ = ["Fragment", "chart", "curve_of", "drift"]
