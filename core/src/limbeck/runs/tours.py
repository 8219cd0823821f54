"""One small distillation per modality, and one page that shows them all: `limbeck tour`.

A plugin marks a recipe that shows what it can do in a few minutes on a CPU, with nothing to download:
`Component("recipe", ..., details={"tour": "3"})`. The value is its place on the page: smaller numbers first.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import RecipeError, did_you_mean
from limbeck.files import write_json
from limbeck.plugins.registry import registry
from limbeck.recipe import check, load
from limbeck.report.tour import write
from limbeck.runs.cells import Cell, Cells, run_all

DEFAULT_FOLDER = Path("runs/tour")
MARK = "tour"  # the key of a recipe's manifest details that puts it on the tour


def stops() -> list[Any]:
    """Registry entries of the marked recipes, in the order of the page."""
    found = [entry for entry in registry.components("recipe") if MARK in entry.component.details]
    return sorted(found, key=lambda entry: (float(entry.component.details[MARK]), entry.qualified))


def plan(
    modalities: Sequence[str] | None = None, *, overrides: Iterable[str] = (), out: Path = DEFAULT_FOLDER
) -> list[Cell]:
    """A cell for every stop. Nothing is imported or written.

    Args:
        modalities: which ones, `image`, `text`, ...; all that are installed when None.
        overrides: `path=value`, for every recipe.
    """
    marked = stops()
    known = list(dict.fromkeys(entry.component.modality for entry in marked))
    if not marked:
        raise RecipeError(
            "no installed plugin has a recipe for the tour. Install one: pip install limbeck-image; the others are "
            "limbeck-text, limbeck-3d, limbeck-audio, limbeck-video"
        )
    for name in modalities or ():
        if name not in known:
            raise RecipeError(
                f"no tour of {name!r}. {did_you_mean(name, known)}Installed: {', '.join(known)} (another modality: pip "
                "install limbeck-NAME)"
            )
    cells = []
    for entry in marked:
        if modalities is not None and entry.component.modality not in modalities:
            continue
        recipe = check(load(entry.qualified, list(overrides)))
        modality = entry.component.modality
        cells.append(Cell(recipe.name, recipe.objective.use, out / recipe.name, modality, recipe))
    return cells


@dataclass
class Tour(Cells):
    """What a tour leaves: its runs, and one page."""

    sections: dict[Path, Any] = field(default_factory=dict, repr=False)  # of finished runs: made once

    @property
    def page(self) -> Path:
        return self.path / "index.html"

    def to_dict(self) -> dict[str, Any]:
        return {"folder": str(self.path), "page": str(self.page), "cells": self.rows()}

    def write(self) -> None:
        """tour.json and index.html, from what is on disk now."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "tour.json", self.to_dict())
        write(self)


def tour(
    modalities: Sequence[str] | None = None,
    *,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
    again: str = "",
) -> Tour:
    """Run the recipe that every installed modality has put on the tour, and write one page.

    Arguments and errors as in `limbeck.compare`; the same call on the same folder goes on where it was.
    """
    folder = Path(out) if out is not None else DEFAULT_FOLDER
    found = Tour(folder, plan(modalities, overrides=overrides, out=folder))
    run_all(found.cells, write=found.write, overwrite=overwrite, progress=progress, say=say, again=again)
    return found
