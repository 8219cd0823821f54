"""Commands that work: pretrain, distill, sample, evaluate, export, report. torch is imported inside them."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from limbeck.cli.tables import number, show, show_json
from limbeck.errors import LimbeckError, RecipeError
from limbeck.files import write_whole


def complete_recipe(incomplete: str) -> list[str]:
    from limbeck.plugins.registry import registry

    return [e.component.name for e in registry.components("recipe") if e.component.name.startswith(incomplete)]


RecipeArgument = Annotated[
    str, typer.Argument(help="Registered name, YAML file, or run folder.", autocompletion=complete_recipe)
]
Overrides = Annotated[list[str] | None, typer.Argument(help="path=value, such as train.steps=300")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run. Default: runs/NAME.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run; a run folder may stand in RECIPE's place.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the run in that folder first.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/digits_dmd2.")]


def open_run(path: Path) -> Any:
    """The run in a folder, refused before torch is imported when there is none."""
    from limbeck.runs.folders import has_recipe

    if not has_recipe(path):
        runs = sorted(p.parent.as_posix() for p in Path("runs").glob("*/recipe.yaml"))
        raise RecipeError(f"no run in {path} (it holds no recipe.yaml). Runs here: {', '.join(runs) or 'none'}")
    from limbeck.runs.run import Run

    return Run(path)


def train(
    what: str, recipe: str, overrides: list[str] | None, out: Path | None, resume: bool, overwrite: bool, as_json: bool
) -> None:
    """Both `distill` and `pretrain`."""
    from limbeck import api
    from limbeck.recipe import load
    from limbeck.runs.folders import has_recipe

    overrides = list(overrides or ())
    if resume and overrides and "=" not in overrides[0]:  # limbeck distill my.yaml --resume runs/x
        folder = Path(overrides.pop(0))
        if out is not None and out != folder:
            raise RecipeError(f"two folders to resume: {folder} and --out {out}; give one")
        out = folder
    if resume and out is None and has_recipe(Path(recipe)) and not recipe.endswith((".yaml", ".yml")):
        out = Path(recipe)
    for text in overrides:
        if "=" not in text:
            raise RecipeError(f"{text!r} is not an override of the form path=value. Example: train.steps=300")
    loaded = load(recipe, overrides)
    main = os.environ.get("RANK", "0") == "0"  # under torchrun one process prints, not all of them
    if main and not as_json:
        announce(loaded)
    run = getattr(api, what)(loaded, out=out, resume=resume, overwrite=overwrite)
    if main:
        finish(run, as_json, again=f"limbeck {what} {recipe}")


def announce(recipe: Any) -> None:
    """What is about to be done, on standard error: standard output is for results."""
    objective = recipe.objective.use
    if recipe.teacher is not None:
        guided = f", guidance {_scheduled(recipe.teacher.guidance.scale)}" if recipe.teacher.guidance else ""
        typer.echo(f"  teacher   {recipe.teacher.use}{guided}", err=True)
        typer.echo(
            f"  student   {recipe.generator.use} from {recipe.generator.init}     objective {objective}", err=True
        )
    else:
        typer.echo(
            f"  training  {recipe.generator.use} from {recipe.generator.init}     objective {objective}", err=True
        )


def _scheduled(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else f"{value.start:g} to {value.end:g}"


def finish(run: Any, as_json: bool, again: str = "") -> None:
    """The final table, the report and what to do next."""
    folder = Path(run.path)
    table = read_evaluation(folder)
    report = folder / "report.html"
    if as_json:
        show_json({"run": str(folder), "report": str(report) if report.is_file() else None, **table})
        return
    if table["rows"]:
        show_rows(table["rows"])
        print()
    recipe, domain = read_facts(folder)
    if report.is_file():
        hint = "the teacher and the student side by side" if recipe.get("teacher") else "samples, curves, costs"
        print(f"report    {report}     (open it: {hint})")
    from limbeck.report.story import next_commands

    print(f"next      {next_commands(folder, recipe, domain)[0]}")
    if again:
        print(f"          {again} train.lr=1e-4 --out {folder}_2      limbeck list objectives")


def read_facts(folder: Path) -> tuple[dict[str, Any], str]:
    """Recipe and domain of a run, without building anything."""
    from limbeck.report.reading import read

    record = read(folder)
    return dict(record.recipe), str(record.run.get("domain", ""))


def read_evaluation(folder: Path) -> dict[str, Any]:
    """evaluation.json of a run: rows, and for each metric whether lower or higher is better."""
    try:
        found = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"rows": [], "better": {}}
    except (OSError, ValueError) as error:
        raise LimbeckError(
            f"{folder / 'evaluation.json'} cannot be read: {error}. Make it again: limbeck evaluate {folder}"
        ) from None
    return found if isinstance(found, dict) else {"rows": found, "better": {}}


def show_rows(rows: list[dict[str, Any]]) -> None:
    """name, evaluations, ms/sample, then every metric."""
    by_most = sorted(rows, key=lambda row: -len(row.get("metrics", {})))  # some metrics fit some rows only
    names = list(dict.fromkeys(name for row in by_most for name in row.get("metrics", {})))
    columns = ["", "evaluations", "ms/sample", *(name.replace("_", " ") for name in names)]
    show(
        columns,
        [
            [
                row.get("name", ""),
                number(row.get("evaluations")),
                number(row.get("ms_per_sample")),
                *(number(row.get("metrics", {}).get(name)) for name in names),
            ]
            for row in rows
        ],
        right=columns[1:],
    )


def distill_command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Distil a teacher into a fast generator by a recipe.

    Ctrl-C finishes the step, saves, and prints how to go on.

    \b
    Examples:
      limbeck distill digits_dmd2
      limbeck distill digits_dmd2 train.steps=300 teacher.guidance=1.5 --out runs/short
      limbeck distill my.yaml --resume
      limbeck distill --resume runs/digits_dmd2 train.lr=2e-4
    Exit codes: 0 done; 2 wrong recipe; 3 plugin failed; 4 folder holds a run; 5 bad checkpoint;
    6 loss or gradient not finite; 130 Ctrl-C.
    """
    train("distill", recipe, overrides, out, resume, overwrite, as_json)


def pretrain_command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a generator (a teacher to be) from data by a recipe without a teacher.

    \b
    Examples:
      limbeck pretrain digits_teacher
      limbeck pretrain digits_teacher train.steps=300 --out runs/short
      limbeck pretrain --resume runs/digits_teacher
    Exit codes: 0 done; 2 wrong recipe; 3 plugin failed; 4 folder holds a run; 5 bad checkpoint;
    6 loss or gradient not finite; 130 Ctrl-C.
    """
    train("pretrain", recipe, overrides, out, resume, overwrite, as_json)


def sample_command(
    run: RunArgument,
    n: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="How many samples. Default: 64; one text.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; its suffix decides. Default: samples.png; texts are printed."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same samples.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of the sampler. Default: the recipe's.")] = None,
    cond: Annotated[
        str | None, typer.Option(help="Condition: a value, or several in brackets. Default: drawn from the data.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to continue, for models that write.")] = None,
) -> None:
    """Draw samples from a run's student. Texts appear while they are written.

    \b
    Examples:
      limbeck sample runs/digits_dmd2 -n 64 -o digits.png
      limbeck sample runs/digits_dmd2 -n 10 --cond 7 -o sevens.safetensors
      limbeck sample RUN --prompt "Return a list of"
    Exit codes: 0 done; 2 no such run, wrong condition or prompt; 5 bad checkpoint.
    """
    from limbeck.recipe.text import parse

    condition = parse(cond, "--cond")[0] if cond is not None else None
    found = open_run(run)
    if prompt is not None:
        found.check_prompt()
        if condition is not None:
            raise RecipeError("--prompt and --cond exclude each other: the prompt is the condition")
    if out is None and condition is None and found.writes:
        print_texts(found, n or 1, prompt, seed, steps)
        return
    count = n or (1 if prompt is not None else 64)
    samples = found.sample(count, cond=condition, seed=seed, steps=steps, prompt=prompt)
    out = out or Path("samples.png")
    if out.suffix == ".txt" and found.writes:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, "".join(f"{text}\n" for text in separated(samples.seen())))
    else:
        samples.save(out)
    print(out)


def print_texts(run: Any, n: int, prompt: str | None, seed: int, steps: int | None) -> None:
    """Texts on standard output, each behind its prompt, piece by piece where the model writes from left to right."""
    if not run.streams:
        print("\n".join(separated(run.sample(n, seed=seed, steps=steps, prompt=prompt).seen())))
        return
    for which in range(n):
        if which:
            print(RULE)
        for k, piece in enumerate(run.stream(prompt, seed=seed, steps=steps, number=which)):
            if prompt is not None and k == 0:
                print(prompt, end="")
            print(piece, end="", flush=True)
        print()


RULE = "-" * 8  # between texts


def separated(texts: list[str]) -> list[str]:
    """Texts with a rule between each two."""
    return [line for which, text in enumerate(texts) for line in ([RULE] if which else []) + [text]]


def evaluate_command(run: RunArgument, as_json: Json = False) -> None:
    """Measure a run's student beside its teacher, and write evaluation.json.

    \b
    Example:  limbeck evaluate runs/digits_dmd2 --json
    Exit codes: 0 done; 2 no such run; 5 bad checkpoint.
    """
    rows = open_run(run).evaluate()
    rows = rows.get("rows", []) if isinstance(rows, dict) else list(rows)
    if as_json:
        show_json(rows)
    else:
        show_rows(rows)


def complete_exporter(incomplete: str) -> list[str]:
    from limbeck.plugins.registry import registry

    return [e.component.name for e in registry.components("exporter") if e.component.name.startswith(incomplete)]


def export_command(
    run: RunArgument,
    directory: Annotated[Path, typer.Argument(help="Folder to write.", metavar="DIR")],
    to: Annotated[
        str, typer.Option("--to", help="An exporter: limbeck list exporters.", autocompletion=complete_exporter)
    ] = "torch",
    options: Annotated[list[str] | None, typer.Argument(help="option=value of the exporter, such as frames=60")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's student as an ordinary artefact that loads without Limbeck.

    \b
    Examples:
      limbeck export runs/digits_dmd2 --to torch student/
      limbeck export runs/digits_dmd2 --to safetensors student/ overwrite=true
      limbeck export runs/moving_digits_self_forcing --to gif clips/ frames=60
    Exit codes: 0 done; 2 no such run, exporter or option; 3 exporter failed to load; 5 bad checkpoint.
    """
    from limbeck.plugins.registry import registry
    from limbeck.recipe.text import parse_override

    if not any(entry.component.name == to for entry in registry.components("exporter")):
        registry.find("exporter", to)  # raises, with what there is; of a name that several have, the run takes its own
    given = {".".join(path): value for path, value in map(parse_override, options or [])}
    if taken := given.keys() & {"run", "to", "directory"}:
        raise RecipeError(
            f"'{min(taken)}' is no option of an exporter: limbeck export RUN DIR --to NAME [option=value]"
        )
    files = open_run(run).export(to, directory, **given)
    paths = [str(file) for file in files or [directory]]
    show_json(paths) if as_json else print("\n".join(paths))


def report_command(run: RunArgument) -> None:
    """Write a run's report.html again and print its path.

    \b
    Example:  limbeck report runs/digits_dmd2
    Exit codes: 0 done; 2 no such run.
    """
    print(open_run(run).report())


def add(app: typer.Typer) -> None:
    app.command("distill")(distill_command)
    app.command("pretrain")(pretrain_command)
    app.command("sample")(sample_command)
    app.command("evaluate")(evaluate_command)
    app.command("export")(export_command)
    app.command("report")(report_command)
