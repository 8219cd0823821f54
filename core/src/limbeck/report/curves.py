"""Curves of a run as data for the page: one small chart per quantity, thinned so that spikes survive."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from limbeck.report.reading import Record

LINE_KEYS = ("step", "phase", "repeat", "repeats", "loss", "grad_norm", "lr")


@dataclass(frozen=True)
class Chart:
    """One quantity over the steps. `references`: horizontal lines (the teacher's value); `exact`: never smooth."""

    title: str
    x: list[int]
    y: list[float | None]
    note: str = ""
    references: list[tuple[str, float]] = field(default_factory=list)
    exact: bool = False

    def json(self) -> str:
        return json.dumps(
            {
                "title": self.title,
                "x": self.x,
                "y": [None if value is None else float(f"{value:.5g}") for value in self.y],
                "references": [{"label": label, "y": float(f"{value:.5g}")} for label, value in self.references],
                "exact": self.exact,
            },
            allow_nan=False,
            separators=(",", ":"),
        )

    @property
    def last(self) -> float | None:
        return next((value for value in reversed(self.y) if value is not None), None)


def thin(x: list[int], y: list[float | None], buckets: int = 400) -> tuple[list[int], list[float | None]]:
    """At most about two points per bucket, its lowest and its highest, in order, so that spikes are still seen.

    A missing value (not finite) stays, because a hole is news.
    """
    if len(x) <= 2 * buckets:
        return x, y
    keep = {0, len(x) - 1}
    for b in range(buckets):
        bucket = range(b * len(x) // buckets, (b + 1) * len(x) // buckets)
        finite = [(value, k) for k in bucket if (value := y[k]) is not None]
        if finite:
            keep.update((min(finite)[1], max(finite)[1]))
        keep.update([k for k in bucket if y[k] is None][:1])
    order = sorted(keep)
    return [x[k] for k in order], [y[k] for k in order]


def by_step(points: Iterable[tuple[int, Any]]) -> tuple[list[int], list[float | None]]:
    """Mean per step (a critic moves several times within one); None where a value is not finite. A step that was run
    twice (a resumed run) counts once, as it was last."""
    sums: dict[int, list[float]] = {}
    for step, value in points:
        sums.setdefault(int(step), []).append(_number(value))
    x = sorted(sums)
    means = [sum(sums[step]) / len(sums[step]) for step in x]
    return x, [value if math.isfinite(value) else None for value in means]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def phase_series(record: Record) -> dict[str, dict[str, tuple[list[int], list[float | None]]]]:
    """phase -> quantity -> (steps, values)."""
    collected: dict[str, dict[str, list[tuple[int, Any]]]] = {}
    for line in record.steps:
        quantities = collected.setdefault(str(line.get("phase") or "training"), {})
        for key, value in line.items():
            if key not in ("step", "phase", "repeat", "repeats") and not isinstance(value, str | dict | list):
                quantities.setdefault(key, []).append((line["step"], value))
    return {phase: {key: by_step(points) for key, points in found.items()} for phase, found in collected.items()}


def evaluation_series(record: Record) -> dict[str, tuple[list[int], list[float | None]]]:
    """metric -> (steps, values)."""
    collected: dict[str, dict[int, Any]] = {}
    for step, numbers in record.evaluations:
        for key, value in numbers.items():
            collected.setdefault(key, {})[step] = value
    return {key: by_step(sorted(points.items())) for key, points in collected.items()}


def charts(record: Record) -> dict[str, list[Chart]]:
    """Groups of charts in reading order: metrics, one group per phase (loss first), and the bookkeeping."""
    groups: dict[str, list[Chart]] = {}
    rows = record.rows()
    better: Mapping[str, str] = record.table.get("better", {})
    metrics = []
    for key, (x, y) in evaluation_series(record).items():
        references = [
            (label, rows[role]["metrics"][key])
            for role, label in (("teacher", "teacher"), ("floor", "real data"))
            if role in rows and isinstance(rows[role]["metrics"].get(key), int | float)
        ]
        arrow, note = {"lower": (" ↓", "lower is better"), "higher": (" ↑", "higher is better")}.get(
            better.get(key, ""), ("", "")
        )
        metrics.append(Chart(spoken(key) + arrow, x, y, note, references, exact=True))
    if metrics:
        groups["Metrics"] = metrics
    bookkeeping = []
    for phase, quantities in phase_series(record).items():
        ordered = [key for key in ("loss",) if key in quantities]
        terms = [key for key in quantities if key not in LINE_KEYS]
        ordered += [
            key for key in terms if quantities[key] != quantities.get("loss")
        ]  # a loss of one term is that term
        groups[f"Phase: {spoken(phase)}"] = [Chart(spoken(key), *thin(*quantities[key])) for key in ordered]
        for key in ("grad_norm", "lr"):
            if key in quantities:
                title = {"grad_norm": "gradient norm", "lr": "learning rate"}[key]
                bookkeeping.append(Chart(f"{spoken(phase)}: {title}", *thin(*quantities[key]), exact=key == "lr"))
    seconds = [
        (int(line["step"]), line["step_seconds"]) for line in record.timings if {"step", "step_seconds"} <= set(line)
    ]
    if seconds:
        bookkeeping.append(Chart("seconds per step", *thin(*by_step(seconds))))
    if bookkeeping:
        groups["Bookkeeping"] = bookkeeping
    return {name: found for name, found in groups.items() if found}


def spoken(name: str) -> str:
    return name.replace("_", " ")
