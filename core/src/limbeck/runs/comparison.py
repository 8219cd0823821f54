"""The same objectives on several modalities: `limbeck.compare(["dmd2", "consistency"], ["image/digits"])`.

A plugin marks a recipe as the base of comparisons, in its manifest: `Component("recipe", ..., details={"compare":
"digits"})` makes it `image/digits` here. The base holds everything but the objective, and under `variants` what is
different for another objective. Several recipes may carry one mark (a language model and a masked one): an objective
runs on the first that it fits.

Every cell is an ordinary run in OUT/<on>/<objective>/ (`limbeck.runs.cells`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.catalogue import matrix
from limbeck.errors import MissingAbility, RecipeError, UnknownComponent, did_you_mean
from limbeck.files import write_json
from limbeck.plugins.abilities import ROLES, missing
from limbeck.plugins.registry import registry
from limbeck.recipe import Recipe, check, load, variant
from limbeck.report.comparison import write
from limbeck.runs.cells import Cell, Cells, run_all

DEFAULT_FOLDER = Path("runs/compare")
MARK = "compare"  # the key of a recipe's manifest details that makes it a base


# --- what to run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """What `--on` names: recipes to put objectives into, in order of preference."""

    name: str
    recipes: tuple[Recipe, ...]


def bases() -> dict[str, list[Any]]:
    """plugin/mark -> registry entries of the recipes that carry it."""
    found: dict[str, list[Any]] = {}
    for entry in registry.components("recipe"):
        if MARK in entry.component.details:
            found.setdefault(f"{entry.plugin}/{entry.component.details[MARK]}", []).append(entry)
    return found


def base(on: str | os.PathLike | Mapping[str, Any] | Recipe) -> Base:
    """A mark (`image/digits`, or `digits` while one plugin has it), else any recipe: name, file, run, mapping."""
    if isinstance(on, str):
        known = bases()
        fitting = [name for name in known if on == name or on == name.partition("/")[2]]
        if len(fitting) > 1:
            raise RecipeError(f"{on!r} is the base of several plugins' comparisons. Write {' or '.join(fitting)}.")
        if fitting:
            return Base(fitting[0], tuple(load(entry.qualified) for entry in known[fitting[0]]))
        try:
            found = load(on)
        except UnknownComponent as error:
            raise UnknownComponent(
                f"nothing to compare on is named {on!r}. {did_you_mean(on, known)}Known: {', '.join(known) or 'none'}; "
                "a registered recipe, a .yaml file or a run folder will do as well."
            ) from error
        return Base(found.name, (found,))
    found = load(on)
    return Base(found.name, (found,))


def plan(
    objectives: Sequence[str] | None,
    on: Sequence[Any] | None,
    *,
    overrides: Iterable[str] = (),
    out: Path = DEFAULT_FOLDER,
) -> list[Cell]:
    """Every cell of the table, with its recipe or what is missing. Nothing is imported or written.

    Args:
        objectives: names; when None, those that the bases themselves and their variants name.
        on: bases (see `base`); every marked one when None.
        overrides: `path=value`, for every cell, or `ON:path=value` for those of one base.
    """
    if on is None and not bases():
        raise RecipeError("no installed recipe is marked as the base of comparisons; name one with --on RECIPE")
    chosen = [base(name) for name in (bases() if on is None else on)]
    if double := {b.name for b in chosen if [c.name for c in chosen].count(b.name) > 1}:
        raise RecipeError(f"{', '.join(sorted(double))} is given twice")
    general, special = _split(overrides, [b.name for b in chosen])
    if objectives is None:
        named = [n for b in chosen for recipe in b.recipes for n in (recipe.objective.use, *recipe.variants)]
        objectives = list(dict.fromkeys(registry.find("objective", n).component.name for n in named))
    entries = [registry.find("objective", name) for name in objectives]
    cells = []
    for b in chosen:
        for name, entry in zip(objectives, entries, strict=True):
            cells.append(_cell(b, name, entry, [*general, *special.get(b.name, [])], out))
    if not any(cell.recipe for cell in cells):
        reasons = "\n".join(f"  {cell}: {cell.reason}" for cell in cells)
        raise MissingAbility(f"none of these can run:\n{reasons}\nWhat runs where: limbeck matrix")
    return cells


def _split(overrides: Iterable[str], names: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Overrides for all, and those for one base: `image/digits:train.steps=20`."""
    general: list[str] = []
    special: dict[str, list[str]] = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        name, colon, rest = path.rpartition(":")
        if not equals:
            raise RecipeError(f"{text!r} is not an override of the form path=value. Example: train.steps=20")
        if not colon:
            general.append(text)
            continue
        fitting = [known for known in names if name in (known, known.partition("/")[2])]
        if len(fitting) != 1:
            raise RecipeError(f"override {text!r}: {name!r} is not compared on. Allowed: {', '.join(names)}")
        special.setdefault(fitting[0], []).append(f"{rest}={value}")
    return general, special


def _cell(b: Base, name: str, entry: Any, overrides: Sequence[str], out: Path) -> Cell:
    """The objective on the first recipe of the base that it fits."""
    objective = entry.component.name if "/" not in name else name.replace("/", "-")
    least: tuple[int, str] | None = None
    modality = ""
    for recipe in b.recipes:
        title = f"{b.name.replace('/', '_')}_{objective}"
        found = variant(recipe, name, overrides, title)
        partners = {}
        for role in ROLES:
            block = getattr(found, role)
            partners[role] = registry.find(role, block.use) if block is not None and block.object is None else None
        modality = modality or (partners["generator"].component.modality if partners["generator"] else "any")
        lacking = missing(registry, entry, found.objective.options, *partners.values())
        given = {role for role in partners if getattr(found, role) is not None and partners[role] is None}
        lacking = [(role, word) for role, word in lacking if role not in given]  # objects are judged when built
        if not lacking:
            checked = check(found)
            return Cell(b.name, objective, out / b.name / objective, modality, checked)
        if least is None or len(lacking) < least[0]:
            least = (len(lacking), matrix.cell(lacking))
    assert least is not None
    return Cell(b.name, objective, out / b.name / objective, modality, None, "impossible", least[1])


# --- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Comparison(Cells):
    """What `compare` leaves: cells, their numbers, the report. `rows()` has a mapping for every cell."""

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def to_dict(self) -> dict[str, Any]:
        return {"folder": str(self.path), "report": str(self.report), "cells": self.rows()}

    def write(self) -> None:
        """comparison.json and report.html, from what is on disk now."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "comparison.json", self.to_dict())
        write(self)

    def __repr__(self) -> str:
        done = sum(cell.status == "finished" for cell in self.cells)
        return f"Comparison({str(self.path)!r}, {done} of {len(self.cells)} cells finished)"


def compare(
    objectives: Sequence[str] | None = None,
    on: Sequence[Any] | None = None,
    *,
    overrides: Iterable[str] = (),
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] | None = None,
    again: str = "",
) -> Comparison:
    """Train every objective on every base, and write one table and one report.

    Args:
        objectives: registered names; when None, those that the bases and their variants name.
        on: bases (`image/digits`) or recipes; every marked base when None.
        overrides: `path=value` for all cells, `ON:path=value` for those of one base.
        out: folder of the comparison; runs/compare when None. The same call on the same folder goes on where it was.
        overwrite: make runs again whose recipe has changed; the others are kept.
        progress: draw a bar per run; when None, if standard error is a terminal.
        say: called with one line per cell.
        again: the command to go on with, for the message of an interruption.

    Raises:
        MissingAbility: when no cell can run. RunExists: when a folder holds a run of another recipe. Interrupted: on
        Ctrl-C, when everything is saved.
    """
    folder = Path(out) if out is not None else DEFAULT_FOLDER
    found = Comparison(folder, plan(objectives, on, overrides=overrides, out=folder))
    run_all(found.cells, write=found.write, overwrite=overwrite, progress=progress, say=say, again=again)
    return found
