"""The report of a comparison: objectives down, modalities across, then every run with its cost and its samples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.files import write_whole
from limbeck.report.curves import evaluation_series, spoken
from limbeck.report.page import HERE, environment
from limbeck.report.pictures import fragment, frames
from limbeck.report.reading import Record, read
from limbeck.report.story import number, primary_metric


def row(cell: Any) -> dict[str, Any]:
    """What a `limbeck.runs.cells.Cell` came to: the primary metric of its modality, its cost, where to read on."""
    found: dict[str, Any] = {
        "on": cell.on, "modality": cell.modality, "objective": cell.objective, "status": cell.status,
        "reason": cell.reason, "metric": None, "better": None, "student": None, "teacher": None, "real": None,
        "evaluations": None, "teacher_evaluations": None, "ms_per_sample": None, "teacher_ms_per_sample": None,
        "steps": None, "seconds": None,
        "peak_memory_mib": None, "metrics": {}, "run": None, "report": None,
    }  # fmt: skip
    if cell.recipe is None or not (cell.folder / "recipe.yaml").is_file():
        return found
    record = read(cell.folder)
    rows, metric = record.rows(), primary_metric(record)
    student = rows.get("student", {})
    measured = {key: y[-1] for key, (_, y) in evaluation_series(record).items()}  # where there is no final table
    found |= {
        "metric": metric,
        "better": record.table.get("better", {}).get(metric),
        "student": student.get("metrics", measured).get(metric),
        "teacher": rows.get("teacher", {}).get("metrics", {}).get(metric),
        "real": rows.get("floor", {}).get("metrics", {}).get(metric),
        "evaluations": student.get("evaluations"),
        "teacher_evaluations": rows.get("teacher", {}).get("evaluations"),
        "ms_per_sample": student.get("ms_per_sample"),
        "teacher_ms_per_sample": rows.get("teacher", {}).get("ms_per_sample"),
        "steps": record.run.get("step", record.last_step),
        "seconds": max((line.get("seconds") or 0 for line in record.timings), default=None),
        "peak_memory_mib": _memory(record),
        "metrics": dict(student.get("metrics", measured)),
        "run": str(cell.folder),
        "report": str(cell.folder / "report.html") if (cell.folder / "report.html").is_file() else None,
    }
    return found


def _memory(record: Record) -> int | None:
    """Most memory held, MiB: of the GPU where one was used, else of the process."""
    peak = record.run.get("peak_memory_mib")
    return (peak.get("gpu") or peak.get("process")) if isinstance(peak, Mapping) else None


def write(comparison: Any) -> Path:
    """OUT/report.html of a `limbeck.runs.comparison.Comparison`."""
    write_whole(comparison.report, render(comparison))
    return comparison.report


def render(comparison: Any) -> str:
    from markupsafe import Markup

    from limbeck import __version__

    rows = comparison.rows()
    best = _best(rows)
    ons = list(dict.fromkeys(r["on"] for r in rows))
    by_place = {(r["objective"], r["on"]): r for r in rows}
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
            version=__version__,
            name=comparison.path.name,
            sentence=sentence(rows),
            ons=[{"name": on, **_heading(rows, on)} for on in ons],
            objectives=list(dict.fromkeys(r["objective"] for r in rows)),
            cells=by_place,
            rows=rows,
            best=best,
            link=lambda r: link(comparison.path, r),
            pictures={on: _pictures([cell for cell in comparison.cells if cell.on == on]) for on in ons},
        )
    )


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """What was compared and how far it came."""
    objectives, ons = (len({r[key] for r in rows}) for key in ("objective", "on"))
    text = f"{_many(objectives, 'objective')} on {_many(ons, 'base')}: "
    counts = {s: sum(r["status"] == s for r in rows) for s in ("finished", "failed", "interrupted", "waiting")}
    parts = [_many(counts["finished"], "run") + " finished"]
    parts += [f"{counts[s]} {s}" for s in ("failed", "interrupted", "waiting") if counts[s]]
    impossible = sum(r["status"] == "impossible" for r in rows)
    parts += [f"{impossible} impossible"] if impossible else []
    return text + ", ".join(parts) + "."


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'s' if count != 1 else ''}"


def _heading(rows: Sequence[Mapping[str, Any]], on: str) -> dict[str, Any]:
    """The metric of a column, which way is better, and what the teacher and real data score."""
    mine = [r for r in rows if r["on"] == on]
    first = next((r for r in mine if r["metric"]), {})
    arrow = {"lower": " ↓", "higher": " ↑"}.get(first.get("better") or "", "")
    mine = [r for r in mine if r["metric"] == first.get("metric")]
    return {
        "key": first.get("metric"),
        "metric": f"{spoken(first['metric'])}{arrow}" if first else "",
        "teacher": next((r["teacher"] for r in mine if r["teacher"] is not None), None),
        "real": next((r["real"] for r in mine if r["real"] is not None), None),
    }


def _best(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """(objective, on) of the best student of every column in which at least two compete; ties are all best."""
    found = set()
    for on, metric in {(r["on"], r["metric"]) for r in rows}:
        mine = [r for r in rows if (r["on"], r["metric"]) == (on, metric)]
        known = [r for r in mine if isinstance(r["student"], int | float) and r["better"]]
        if len(known) < 2:
            continue
        value = (min if known[0]["better"] == "lower" else max)(r["student"] for r in known)
        found |= {(r["objective"], on) for r in known if number(r["student"]) == number(value)}
    return found


def link(folder: Path, r: Mapping[str, Any]) -> str:
    """The run's own report, from where this page lies; empty when there is none."""
    return Path(os.path.relpath(r["report"], folder)).as_posix() if r["report"] else ""


def _pictures(cells: Sequence[Any]) -> list[dict[str, Any]]:
    """The teacher's samples once, then every student's: equal noise and conditions where the modality has any."""
    found: list[dict[str, Any]] = []
    for cell in cells:
        samples = cell.folder / "samples"
        if not found:
            for role, heading in (("floor", "real data"), ("teacher", "teacher")):
                html = fragment(samples / "comparison" / role, f"{heading} on {cell.on}")
                if html is not None:
                    found.insert(0, {"heading": heading, "html": html})
        html = fragment(samples / "comparison" / "student", f"samples of {cell.objective} on {cell.on}")
        if html is None:
            latest = frames(samples, limit=1)
            html = latest[-1].html if latest else None
        if html is not None:
            found.append({"heading": cell.objective, "html": html})
    return found
