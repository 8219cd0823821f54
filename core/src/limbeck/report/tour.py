"""The page of a tour: every modality with its teacher beside its student, what both cost, and what there is to take."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.files import write_whole
from limbeck.report.comparison import link
from limbeck.report.page import HERE, compared, environment, panel_sections
from limbeck.report.pictures import frames
from limbeck.report.reading import Record, read
from limbeck.report.story import duration, equal_start, sentence, status_line, tiles


def write(tour: Any) -> Path:
    """OUT/index.html of a `limbeck.runs.tours.Tour`."""
    write_whole(tour.page, render(tour))
    return tour.page


def render(tour: Any) -> str:
    from markupsafe import Markup

    from limbeck import __version__

    rows = tour.rows()
    return (
        environment()
        .get_template("tour.html.j2")
        .render(
            style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
            version=__version__,
            sentence=lede(rows),
            rows=rows,
            link=lambda row: link(tour.path, row),
            stops=[_stop(tour, cell) for cell in tour.cells],
        )
    )


def lede(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many modalities, and how long it took."""
    done = [row for row in rows if row["status"] == "finished"]
    seconds = sum(row["seconds"] or 0 for row in done)
    names = [row["modality"] for row in done]
    if not names:
        return "Nothing has finished yet."
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    text = f"The same tool on {listed}: slow teachers distilled into fast students"
    text += f", {duration(seconds)} of training on this machine"
    rest = [row["modality"] for row in rows if row["status"] != "finished"]
    return f"{text}." + (f" Not finished: {', '.join(rest)}." if rest else "")


def _stop(tour: Any, cell: Any) -> dict[str, Any]:
    """One modality: what was done, both models side by side, figures, sections of its plugin."""
    found: dict[str, Any] = {
        "modality": cell.modality, "name": cell.on, "objective": cell.objective, "status": cell.status,
        "reason": cell.reason, "sentence": "", "line": "", "pictures": [], "rest": [], "tiles": [], "panels": [],
        "start": None, "title": cell.modality.capitalize() if len(cell.modality) > 2 else cell.modality.upper(),
    }  # fmt: skip
    if not (cell.folder / "recipe.yaml").is_file():
        return found
    record = read(cell.folder)
    kept = tour.sections.get(cell.folder)
    shown = panel_sections(cell.run, record) if kept is None else kept
    if cell.status == "finished":
        tour.sections[cell.folder] = shown
    pictures, rest = side_by_side(record)
    return found | {
        "sentence": sentence(record), "line": status_line(record), "tiles": tiles(record), "panels": shown,
        "pictures": pictures, "rest": rest, "start": equal_start(record),
    }  # fmt: skip


def side_by_side(record: Record) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Teacher, student, and what there was before: the teacher cut to the student's cost, or the untrained student; and
    the pictures that are left."""
    grids = frames(record.path / "samples", limit=2)
    found = {entry["role"]: entry for entry in compared(record, grids)}
    if grids and grids[0].step == 0 and len(grids) > 1:
        found["before"] = {"role": "before", "heading": "student, untrained", "cost": "", "html": grids[0].html}
    before = next((role for role in ("teacher_cut", "before") if role in found), "")
    first = [role for role in ("teacher", "student", before) if role in found]
    return [found[role] for role in first], [entry for role, entry in found.items() if role not in first]
