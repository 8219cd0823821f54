"""What follows the last step of a run: the final table, the exports of the recipe, the report."""

import shutil
from pathlib import Path

from limbeck import evaluation, report
from limbeck.engine import Training
from limbeck.errors import LimbeckError
from limbeck.runs.run import Run


def finish(training: Training) -> None:
    """Finish a run whose steps are done, inside its session: an interruption leaves it to be finished later. Every
    process calls it, and the main one writes."""
    training.folder.flush()
    _compare(training)
    training.roles.gather_student()
    if not training.distributed.main:
        return
    training.folder.mark_finished(training.step)
    run = Run(training.folder.path, built=training.built)
    for block in training.recipe.export:
        target = run.path / "exports" / block.use.rpartition("/")[2]
        training.bar.doing(f"exporting {block.use}")
        _export(training, run, block, target)
    if training.recipe.report.write:
        _report(training, run)


def _compare(training: Training) -> None:
    built = training.built
    if not training.recipe.evaluate.compare or not built.metrics or built.sampler is None:
        return
    training.bar.doing("comparing with the teacher" if built.teacher is not None else "measuring")
    with training.roles.shown() as shown:
        if shown is not None:
            evaluation.compare(shown, shown.generator, folder=training.folder.path)


def _export(training: Training, run: Run, block, target: Path) -> None:
    """One that fails costs a line, not the run."""
    shutil.rmtree(target, ignore_errors=True)
    try:
        run.export(block.use, target, **block.options)
    except (LimbeckError, OSError, ImportError, ValueError) as error:
        training.say(f"  export {block.use} failed: {error}")
        training.say(f"  again: limbeck export {run.path} --to {block.use} DIR")


def _report(training: Training, run: Run) -> None:
    try:
        report.write(run)
    except Exception as error:  # the run is finished and saved: a page about it can be written again
        training.say(f"  the run is finished, but its report could not be written ({type(error).__name__}: {error})")
        training.say(f"  again: limbeck report {run.path}")
