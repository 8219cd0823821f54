"""Objective x modality: every cell that the abilities call possible must train. Only what is installed is tried."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.catalogue import matrix
from limbeck.plugins.abilities import needs_of
from limbeck.plugins.index import Entry
from limbeck.plugins.registry import registry


@dataclass(frozen=True)
class Cell:
    """An objective (of any plugin) with the partners of one plugin. Components are built with the options that their
    manifests give as `example`."""

    objective: Entry
    generator: Entry
    teacher: Entry | None
    data: Entry | None

    def __str__(self) -> str:
        partners = [e.qualified for e in (self.generator, self.teacher, self.data) if e is not None]
        return f"{self.objective.qualified} on {', '.join(dict.fromkeys(partners))}"

    def recipe(self, steps: int, batch_size: int) -> dict:
        blocks = {"objective": self.objective, "generator": self.generator, "teacher": self.teacher, "data": self.data}
        named: dict[str, dict[str, Any]] = {
            key: {"use": entry.qualified, **_example(entry)} for key, entry in blocks.items() if entry is not None
        }
        named["generator"]["init"] = "teacher" if self._copies_teacher() else "random"
        source = self._source()
        if source is not None:
            named["source"] = source
        return {
            "name": "cell",
            **named,
            "train": {"steps": steps, "batch_size": batch_size, "log_every": 1},
            "evaluate": {"samples": 2, "batch_size": 2, "grid": 2, "compare": False},
            "report": {"write": False},
        }

    def _copies_teacher(self) -> bool:
        """Whether the student is a copy of the teacher: of one family, and without options of its own."""
        if self.teacher is None or "trainable_copy" not in self.teacher.component.can or _example(self.generator):
            return False
        mine, theirs = (matrix.family(entry.component) for entry in (self.generator, self.teacher))
        return mine == theirs

    def _source(self) -> dict[str, Any] | None:
        """The source, where the objective's default would be too much or has nothing to read."""
        default = registry.create("objective", self.objective.qualified, **_example(self.objective)).default_source
        if self.data is None and self.teacher is not None and default == "data":
            return {"use": "trajectory"}  # the teacher's own states stand in
        small = _example(registry.find("source", default))
        return {"use": default, **small} if small else None


def _example(entry: Entry) -> Mapping[str, Any]:
    return entry.component.example or {}


def possible_cells(plugin: str | None = None) -> list[Cell]:
    """Cells in which nothing is missing; those that `plugin` (an entry-point name) brings a part of, or all.

    Partners come from one plugin, since only they are sure to live in one space. Not every combination is a cell, but
    every generator, every teacher and (of objectives that learn from data) every data set that an objective fits is in
    one. Components that cannot be tried (`example` None) are left out.
    """
    cells: list[Cell] = []
    for objective in registry.components("objective"):
        if objective.component.example is None:
            continue
        by_home: dict[str, list[matrix.Partners]] = {}
        for chosen in matrix.partners(registry, objective):
            entries = [entry for entry in vars(chosen).values() if entry is not None]
            if plugin not in (None, chosen.generator.plugin, objective.plugin):
                continue
            if all(entry.component.example is not None for entry in entries):
                if not matrix.lacking(registry, objective, chosen):
                    by_home.setdefault(chosen.generator.plugin, []).append(chosen)
        reads_data = bool(needs_of(registry, objective).data)
        for choices in by_home.values():
            for chosen in _covering(choices, reads_data):
                cells.append(Cell(objective, chosen.generator, chosen.teacher, chosen.data))
    return sorted(cells, key=str)


def _covering(choices: list[matrix.Partners], reads_data: bool) -> list[matrix.Partners]:
    """The first choices among which every generator, teacher and data set occurs."""
    kept, seen = [], set()
    for role in ("generator", "teacher", *(["data"] if reads_data else [])):
        for chosen in choices:
            entry = getattr(chosen, role)
            if entry is not None and (role, entry.qualified) not in seen:
                kept.append(chosen)
                seen |= {(name, e.qualified) for name, e in vars(chosen).items() if e is not None}
    return kept


def train_cell(cell: Cell, steps: int = 2, batch_size: int = 8, folder: Path | None = None) -> dict[str, float]:
    """Train a cell for a few steps with the engine and draw two samples; the last logged values. Raises whatever goes
    wrong."""
    import limbeck

    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return train_cell(cell, steps, batch_size, Path(temporary) / "run")
    run = (limbeck.pretrain if cell.teacher is None else limbeck.distill)(
        cell.recipe(steps, batch_size), out=folder, progress=False
    )
    lines = [line for line in run.metrics if "loss" in line]
    assert {line["step"] for line in lines} >= {steps}, f"{cell}: {steps} steps were requested; logged: {lines}"
    assert list((folder / "samples").glob(f"step-*{steps}.safetensors")), f"{cell}: no samples were drawn"
    return lines[-1]
