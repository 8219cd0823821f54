"""`limbeck tour`: one small distillation per installed modality, one page."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck.cli.comparing import names
from limbeck.cli.tables import number, show, show_json
from limbeck.errors import LimbeckError


def tour_command(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="path=value for every run, such as train.steps=20.")
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", help="Modalities, with commas. Default: all that are installed.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder. Default: runs/tour.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make runs again whose recipe has changed; others are kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Distil something small in every installed modality, and put it all on one page.

    Nothing is downloaded: teachers come with the packages. Call it again and finished runs are kept, interrupted ones
    go on.

    \b
    Examples:
      limbeck tour
      limbeck tour --on audio,video --out runs/sound_and_clips
    Exit codes: 0 done; 1 a run failed; 2 wrong name or override; 4 the folder holds other runs; 130 Ctrl-C, saved.
    """
    from limbeck.runs.tours import tour

    words = ["limbeck", "tour"]
    for option, value in (("--on", on), ("--out", out)):
        words += [option, str(value)] if value is not None else []
    found = tour(
        names(on, "--on"),
        overrides=overrides or (),
        out=out,
        overwrite=overwrite,
        say=lambda line: typer.echo(line, err=True),
        again=shlex.join([*words, *(overrides or ())]),
    )
    show_json(found.to_dict()) if as_json else show_tour(found)
    if found.failed:
        lines = "\n".join(f"  {cell}: {cell.reason}" for cell in found.failed)
        raise LimbeckError(f"{len(found.failed)} of {len(found.cells)} runs failed:\n{lines}")


def show_tour(found: Any) -> None:
    columns = ["modality", "objective", "metric", "student", "teacher", "evaluations", "ms/sample", "seconds"]
    lines = []
    for row in found.rows():
        metric = f"{row['metric']} ({row['better']} is better)" if row["better"] else row["metric"] or row["status"]
        evaluations = " / ".join(number(v) for v in (row["evaluations"], row["teacher_evaluations"]) if v is not None)
        values = ["" if row[key] is None else number(row[key]) for key in ("student", "teacher")]
        milliseconds = "" if row["ms_per_sample"] is None else number(row["ms_per_sample"])
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        lines.append([row["modality"], row["objective"], metric, *values, evaluations, milliseconds, seconds])
    show(columns, lines, right=columns[3:])
    print(f"\npage      {found.page}     (open it: every teacher beside its student)")


def add(app: typer.Typer) -> None:
    app.command("tour")(tour_command)
