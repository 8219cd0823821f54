"""`limbeck.distill(...)` and `limbeck.pretrain(...)`: what the command line does, as one call."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import RecipeError

if TYPE_CHECKING:
    from limbeck.recipe import Recipe
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
    from limbeck.recipe import load

    loaded = load(recipe, overrides, train=train, **blocks)
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
    from limbeck.recipe import load

    loaded = load(recipe, overrides, train=train, **blocks)
    if loaded.teacher is not None:
        raise RecipeError(
            f"recipe {loaded.name!r} has a teacher ({loaded.teacher.use}), and pretraining uses none. "
            f"Drop it (teacher=null), or distil: limbeck distill {loaded.name}"
        )
    return _train(loaded, out, resume, overwrite, progress)


def _train(
    recipe: "Recipe", out: str | os.PathLike | None, resume: bool, overwrite: bool, progress: bool | None
) -> "Run":
    from limbeck.runs.folders import default_folder, refuse_existing

    folder = Path(out) if out is not None else default_folder(recipe)
    if resume and overwrite:
        raise RecipeError("resume and overwrite exclude each other: one keeps the run, the other deletes it")
    if os.environ.get("RANK", "0") == "0":
        refuse_existing(folder, resume, overwrite)

    from limbeck.runs.training import start  # torch from here on

    return start(recipe, folder, resume=resume, overwrite=overwrite, progress=progress)
