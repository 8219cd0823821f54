"""Training a built recipe from its first step to its report."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from limbeck.engine import Training
from limbeck.recipe import Recipe, check
from limbeck.runs.build import build
from limbeck.runs.finishing import finish
from limbeck.runs.run import Run


def start(
    recipe: Recipe, folder: Path, *, resume: bool = False, overwrite: bool = False, progress: bool | None = None
) -> Run:
    """Build a recipe and train it, in a folder whose content was agreed on (`limbeck.runs.folders.refuse_existing`).

    Args:
        resume: go on with the run in that folder.
        overwrite: delete what is there, once the recipe has been built.
        progress: draw a bar; when None, if standard error is a terminal.
    """
    built = build(check(recipe, resolve=True))
    if overwrite and os.environ.get("RANK", "0") == "0" and folder.exists():
        shutil.rmtree(folder)
    train(built, folder, resume=resume, progress=sys.stderr.isatty() if progress is None else progress)
    return Run(folder, built=built)


def train(built: Any, run_folder: str | os.PathLike, *, resume: bool = False, progress: bool = True) -> None:
    """Run a built recipe to its last step, and finish it, in a folder of its own.

    Args:
        built: a `limbeck.runs.build.Built`.
        run_folder: receives metrics, checkpoints, samples, and the final table and report.
        resume: go on from the last good checkpoint there, or from the start if there is none yet.
        progress: draw a bar when standard error is a terminal.
    """
    training = Training(built, Path(run_folder), resume=resume, progress=progress)
    if training.finished:
        steps = training.step
        training.say(
            f"  {run_folder} is finished: {steps} of {training.options.steps} steps. To train on, raise them: "
            f"{training.folder.command} train.steps={2 * steps}"
        )
        return
    with training.session():
        training.train()
        finish(training)
