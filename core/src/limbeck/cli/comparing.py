"""`limbeck compare`: the same objectives on several modalities, one table, one report."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck.cli.tables import number, show, show_json
from limbeck.errors import LimbeckError, RecipeError


def compare_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bases, as with --on; path=value for every run, such as train.steps=20; ON:path=value for one base's."
        ),
    ] = None,
    objectives: Annotated[
        str | None, typer.Option("--objectives", help="Names, with commas. Default: those that the bases name.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", help="Bases (plugin/name) or recipes, with commas. Default: every marked base."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder. Default: runs/compare.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make runs again whose recipe has changed; others are kept.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Train the same objectives on several modalities and compare: one table, one report.

    A base is a recipe that a plugin has marked, named plugin/name; any recipe will do. Every cell is an ordinary run in
    OUT/ON/OBJECTIVE. Call it again and finished runs are kept, interrupted ones go on. Cells that lack an ability are
    listed with what is missing.

    \\b
    Examples:
      limbeck compare --objectives dmd2,consistency --on image/digits
      limbeck compare image/digits train.steps=20 --out runs/quick
    Exit codes: 0 done; 1 a run failed; 2 wrong name or recipe, or nothing can run; 4 the folder holds other runs;
    130 Ctrl-C, saved.
    """
    from limbeck.runs.comparison import compare

    changes = [text for text in overrides or () if "=" in text]
    ons = [text for text in overrides or () if "=" not in text] + (names(on, "--on") or [])
    found = compare(
        names(objectives, "--objectives"),
        ons or None,
        overrides=changes,
        out=out,
        overwrite=overwrite,
        say=lambda line: typer.echo(line, err=True),
        again=again(overrides or [], objectives, on, out),
    )
    show_json(found.to_dict()) if as_json else show_comparison(found)
    if found.failed:
        lines = "\n".join(f"  {cell}: {cell.reason}" for cell in found.failed)
        raise LimbeckError(f"{len(found.failed)} of {len(found.cells)} runs failed:\n{lines}")


def names(text: str | None, option: str) -> list[str] | None:
    """`a,b` -> [a, b]."""
    if text is None:
        return None
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise RecipeError(f"{option}: names with commas between them, such as a,b; got {text!r}")
    return list(dict.fromkeys(found))


def again(overrides: list[str], objectives: str | None, on: str | None, out: Path | None) -> str:
    """The command line that goes on with this comparison."""
    words = ["limbeck", "compare"]
    for option, value in (("--objectives", objectives), ("--on", on), ("--out", out)):
        words += [option, str(value)] if value is not None else []
    return shlex.join([*words, *overrides])


def show_comparison(found: Any) -> None:
    """A row per cell; what cannot run has its reason."""
    columns = ["on", "objective", "metric", "student", "teacher", "evaluations", "ms/sample", "steps", "seconds", "MiB"]
    lines = []
    for row in found.rows():
        metric = f"{row['metric']} ({row['better']} is better)" if row["better"] else row["metric"] or ""
        if row["status"] == "impossible":
            metric = f"cannot run: {row['reason']}"
        elif row["status"] != "finished":
            metric = f"{row['status']}, {metric}" if metric else row["status"]
        numbers = [row[key] for key in ("student", "teacher", "evaluations", "ms_per_sample", "steps")]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        texts = ["" if v is None else number(v) for v in numbers]
        texts += [seconds, "" if row["peak_memory_mib"] is None else number(row["peak_memory_mib"])]
        lines.append([row["on"], row["objective"], metric, *texts])
    show(columns, lines, right=columns[3:])
    print(f"\nreport    {found.report}")


def add(app: typer.Typer) -> None:
    app.command("compare")(compare_command)
