"""The page of one run, and the parts of it that pages of several runs share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.files import write_whole
from limbeck.report.alarms import CHECKS, alarms
from limbeck.report.curves import charts, spoken
from limbeck.report.panels import Section, sections_of
from limbeck.report.pictures import fragment, frames
from limbeck.report.reading import Record, read
from limbeck.report.story import (
    STATUS,
    duration,
    equal_start,
    facts,
    following,
    history,
    number,
    reproduce,
    sentence,
    status_line,
    table,
    tiles,
)

HERE = Path(__file__).parent
COMPARED = (  # role, heading, what it is
    ("teacher", "teacher", "the teacher at its own sampler and steps"),
    ("student", "student", "the student"),
    ("teacher_cut", "teacher, cut", "the teacher with no more evaluations than the student"),
    ("floor", "real data", "held-out real samples of the same conditions"),
)


def write(run: Any) -> Path:
    """Write report.html into the folder of a `limbeck.Run` and return its path.

    Works at any time: while the run goes on, after it was interrupted, before its first evaluation.
    """
    record = read(run.path)
    target = Path(run.path) / "report.html"
    write_whole(target, render(record, panel_sections(run, record)))
    return target


def panel_sections(run: Any, record: Record) -> list[Section]:
    """The sections that plugins add to the page of a run."""
    return sections_of(run, str(record.block("generator").get("use", "")))


def environment() -> Any:
    """Where the templates are, and the filters they use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters |= {"number": number, "spoken": spoken, "duration": duration}
    return found


def render(record: Record, sections: Sequence[Section] = ()) -> str:
    from markupsafe import Markup

    from limbeck import __version__

    header, rows = table(record)
    grids = frames(record.path / "samples")
    symbol, word = STATUS.get(record.status, ("", record.status))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
            script=Markup((HERE / "report.js").read_text(encoding="utf-8")),
            version=__version__,
            name=record.name,
            status=record.status,
            status_symbol=symbol,
            status_word=word,
            status_line=status_line(record),
            sentence=sentence(record),
            tiles=tiles(record),
            pictures=compared(record, grids),
            panels=sections,
            start=equal_start(record),
            header=header,
            rows=rows,
            frames=grids,
            alarms=alarms(record),
            checks=CHECKS,
            charts=charts(record),
            recipe=record.recipe_text,
            reproduce=reproduce(record),
            following=following(record),
            facts=facts(record),
            history=history(record),
        )
    )


def compared(record: Record, grids: list) -> list[dict[str, Any]]:
    """Grids at equal noise, the two that matter first; the student's latest grid while there is no comparison."""
    found = []
    rows = record.rows()
    for role, heading, what in COMPARED:
        html = fragment(record.path / "samples" / "comparison" / role, what)
        if html is None:
            continue
        row = rows.get(role, {})
        evaluations = row.get("evaluations")
        cost = f"{evaluations:,} evaluation{'s' if evaluations != 1 else ''} per sample" if evaluations else ""
        if role == "student" and not record.has_teacher:
            heading = "model"
        found.append({"role": role, "heading": heading if role != "teacher_cut" else row.get("name", heading),
                      "cost": cost, "html": html})  # fmt: skip
    if not any(entry["role"] == "student" for entry in found) and grids:
        latest = grids[-1]
        found.append({"role": "student", "heading": "student" if record.has_teacher else "model",
                      "cost": f"at step {latest.step:,}", "html": latest.html})  # fmt: skip
    return found
