"""The panel `drift`: how a streaming student drifts, window by window."""

import copy
import html
from collections.abc import Mapping
from typing import Any

import torch

from limbeck.errors import CheckpointError
from limbeck.interfaces import unwrap
from limbeck.report import Fragment, line_chart
from limbeck_video.metrics.clips import decoded
from limbeck_video.metrics.drift import Drift
from limbeck_video.samplers.rollouts import long_rollout, streams
from limbeck_video.views.clips import clip

SHOWN = 8  # rollouts


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


def chart(curves: Mapping[str, Mapping[tuple[int, int], float]]) -> str:
    """Distances by window (first frame, last frame), each above the middle of its window."""
    spans = sorted({span for curve in curves.values() for span in curve})
    return line_chart(
        {name: [(_middle(span), value) for span, value in curve.items()] for name, curve in curves.items()},
        ticks=[(_middle(span), f"{span[0]}-{span[1]}") for span in spans[:: max(1, len(spans) // 8)]],
        end=max(last for _, last in spans),
        label="distance to real frames over a long rollout",
        axis="frames",
    )


def _middle(span: tuple[int, int]) -> float:
    return (span[0] + span[1]) / 2


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


__all__ = ["chart", "curve_of", "drift"]
