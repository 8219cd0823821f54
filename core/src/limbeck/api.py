"""`limbeck.distill(...)` and `limbeck.pretrain(...)`: what the command line does, as one call."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import RecipeError, RunExists

if TYPE_CHECKING:
    from limbeck.recipe.recipe import Recipe
    from limbeck.runs.run import Run


def distill(
    recipe: "str | os.PathLike | Mapping[str, Any] | Recipe",
    *,
    train: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
    **blocks: Any,
) -> "Run":
    """Distil a teacher into a fast generator.

    Args:
        recipe: a registered recipe's name, a path to YAML, a run folder, or a mapping.
        train: keys of its train section, for instance `dict(steps=500)`.
        overrides: `path=value` texts, as on the command line.
        out: the run's folder; `runs/<recipe name>` when None.
        resume: go on with the run in that folder.
        overwrite: delete the run in that folder first.
        progress: draw a progress bar; when None, if standard error is a terminal.
        blocks: other keys of the recipe; a component may be given as an object (`objective=MyObjective()`).
    """
    loaded = _load(recipe, train=train, overrides=overrides, **blocks)
    if loaded.teacher is None:
        raise RecipeError(
            f"recipe {loaded.name!r} has no teacher, so there is nothing to distil. "
            f"Add one (teacher: {{use: NAME}}; limbeck list teachers), or train it: limbeck pretrain {loaded.name}"
        )
    return _train(loaded, out, resume, overwrite, progress)


def pretrain(
    recipe: "str | os.PathLike | Mapping[str, Any] | Recipe",
    *,
    train: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
    **blocks: Any,
) -> "Run":
    """Train a generator from data, without a teacher. Arguments as `distill`."""
    loaded = _load(recipe, train=train, overrides=overrides, **blocks)
    if loaded.teacher is not None:
        raise RecipeError(
            f"recipe {loaded.name!r} has a teacher ({loaded.teacher.use}), and pretraining uses none. "
            f"Drop it (teacher=null), or distil: limbeck distill {loaded.name}"
        )
    return _train(loaded, out, resume, overwrite, progress)


def _load(recipe: Any, **changes: Any) -> "Recipe":
    from limbeck.recipe.recipe import load

    return load(recipe, **changes)


def default_folder(recipe: "Recipe") -> Path:
    return Path("runs") / recipe.name


def is_run(folder: Path) -> bool:
    """Whether the folder was made by a run."""
    return (folder / "run.json").is_file() or (folder / "recipe.yaml").is_file()


def _train(
    recipe: "Recipe", out: str | os.PathLike | None, resume: bool, overwrite: bool, progress: bool | None
) -> "Run":
    folder = Path(out) if out is not None else default_folder(recipe)
    if resume and overwrite:
        raise RecipeError("resume and overwrite exclude each other: one keeps the run, the other deletes it")
    main_process = os.environ.get("RANK", "0") == "0"
    if main_process:
        _refuse_existing(folder, resume, overwrite)

    import sys

    from limbeck import engine, recipe as recipes
    from limbeck.runs.build import build
    from limbeck.runs.run import Run

    built = build(recipes.check(recipe, resolve=True))
    if overwrite and main_process and folder.exists():
        shutil.rmtree(folder)
    engine.train(built, folder, resume=resume, progress=sys.stderr.isatty() if progress is None else progress)
    return Run(folder, built=built)


def _refuse_existing(folder: Path, resume: bool, overwrite: bool) -> None:
    """Never guess what to do with a folder that already holds something."""
    if not folder.exists() or (resume and (not any_content(folder) or is_run(folder))):
        return
    if not folder.is_dir():
        raise RunExists(f"{folder} is a file; a run needs a folder. Choose another with --out DIR.")
    if not any_content(folder) or (overwrite and is_run(folder)):
        return
    if not is_run(folder):
        raise RunExists(f"{folder} holds files that are not a run; nothing was touched. Choose another with --out DIR.")
    raise RunExists(
        f"{folder} already holds a run. Go on with it: --resume (from Python: resume=True); delete it and start again: "
        "--overwrite; keep it and use another folder: --out DIR."
    )


def any_content(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
