"""Runs that belong together, one cell each: what their folders hold already, and running those that are left.

A finished run whose recipe has not changed is kept, one that was interrupted goes on, and one that fails costs its own
cell. `limbeck.runs.comparison` and `limbeck.runs.tours` choose the recipes of the cells.
"""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import Interrupted, LimbeckError, RecipeError, RunExists
from limbeck.recipe import Recipe, check
from limbeck.recipe.stored import differences
from limbeck.recipe.text import read
from limbeck.report.comparison import row
from limbeck.runs.folders import has_content, has_recipe, is_run

if TYPE_CHECKING:
    from limbeck.runs.run import Run


@dataclass
class Cell:
    """One objective on one base. status: waiting, finished, interrupted, failed, or impossible (with a `reason`)."""

    on: str
    objective: str
    folder: Path
    modality: str
    recipe: Recipe | None = None
    status: str = "waiting"
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.objective} on {self.on}"

    @property
    def run(self) -> "Run":
        """The run in its folder, where there is one."""
        from limbeck.runs.run import Run

        return Run(self.folder)


@dataclass
class Cells:
    """A folder of runs that belong together. `rows()` has a mapping for every cell."""

    path: Path
    cells: list[Cell] = field(default_factory=list)

    @property
    def failed(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.status == "failed"]

    def rows(self) -> list[dict[str, Any]]:
        return [row(cell) for cell in self.cells]


# --- what is there already -------------------------------------------------------------------------------------------


def look(cell: Cell) -> tuple[str, dict[str, list[Any]]]:
    """What a cell's folder holds: `new`, `finished`, `partial` (to be resumed), `changed` (of another recipe, with the
    differences) or `foreign` (no run)."""
    assert cell.recipe is not None
    if not cell.folder.exists() or (cell.folder.is_dir() and not has_content(cell.folder)):
        return "new", {}
    if not cell.folder.is_dir() or not is_run(cell.folder):
        return "foreign", {}
    if not has_recipe(cell.folder):
        return "partial", {}
    changed = differences(read(cell.folder / "recipe.yaml")[0], check(cell.recipe, resolve=True).to_dict())
    if changed:
        return "changed", changed
    return ("finished" if cell.run.status == "finished" else "partial"), {}


def _refuse(cells: Sequence[Cell], states: Mapping[str, tuple[str, dict[str, list[Any]]]], overwrite: bool) -> None:
    """Runs of other recipes are deleted only with `overwrite`; files that are no run, never."""
    for cell in cells:
        state, changed = states[str(cell)]
        if state == "foreign":
            raise RunExists(f"{cell.folder} holds something that is not a run; nothing was touched. Use another --out.")
        if state == "changed" and not overwrite:
            changes = ", ".join(f"{path} {old} -> {new}" for path, (old, new) in list(changed.items())[:4])
            changes += ", ..." if len(changed) > 4 else ""
            raise RunExists(
                f"{cell.folder} holds a run of another recipe ({changes}). Make it "
                "again with --overwrite (from Python: overwrite=True; unchanged runs are kept), or use another --out."
            )


# --- running ---------------------------------------------------------------------------------------------------------


def run_all(
    cells: Sequence[Cell],
    *,
    write: Callable[[], None],
    overwrite: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
    again: str = "",
) -> None:
    """Run every cell that has a recipe and is not finished.

    Args:
        write: called whenever a cell has come to an end, however it did: the table and the page as of then.
        overwrite: make runs again whose recipe has changed; the others are kept.
        progress: draw a bar per run; when None, if standard error is a terminal.
        say: called with one line per cell.
        again: the command to go on with, for the message of an interruption.

    Raises:
        RunExists: when a folder holds a run of another recipe, before anything runs. Interrupted: on Ctrl-C, when
        everything is saved.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise RecipeError(
            "several runs go one after another, in one process; start a single run on several with torchrun -m limbeck "
            "distill"
        )
    say = say or (lambda line: None)
    runnable = [cell for cell in cells if cell.recipe is not None]
    for cell in cells:
        if cell.recipe is None:
            say(f"  {cell}: cannot run, {cell.reason}")
    states = {str(cell): look(cell) for cell in runnable}
    _refuse(runnable, states, overwrite)
    for number, cell in enumerate(runnable, 1):
        state = states[str(cell)][0]
        if state == "finished":
            cell.status = "finished"
            say(f"  {number}/{len(runnable)}  {cell}: finished before, kept")
            continue
        try:
            say(f"  {number}/{len(runnable)}  {cell}{': going on' if state == 'partial' else ''}")
            _run(cell, state, progress)
        except (Interrupted, KeyboardInterrupt) as error:
            cell.status = "interrupted"
            write()
            done = sum(c.status == "finished" for c in runnable)
            raise Interrupted(
                f"stopped in {cell}; {done} of {len(runnable)} runs are finished, and this one is saved as far as it "
                f"went.\n  go on: {again or 'call it again with the same arguments'}"
            ) from error
        except Exception as error:  # whatever happens to one, the others are still to be run
            if os.environ.get("LIMBECK_DEBUG", "") not in ("", "0"):
                raise
            known = isinstance(error, LimbeckError)
            cell.status, cell.reason = "failed", str(error) if known else f"{type(error).__name__}: {error}"
            say(f"  {cell} failed: {cell.reason}")
        write()
    write()


def _run(cell: Cell, state: str, progress: bool | None) -> None:
    """One cell, with the number of threads as it was and the peak of memory measured anew."""
    import torch

    from limbeck.engine.run_record import reset_peak_memory
    from limbeck.runs.training import start

    assert cell.recipe is not None
    threads = torch.get_num_threads()
    gc.collect()
    reset_peak_memory()
    try:
        start(cell.recipe, cell.folder, resume=state == "partial", overwrite=state == "changed", progress=progress)
        cell.status = "finished"
    finally:
        torch.set_num_threads(threads)
