"""Objective x modality: every cell that the abilities call possible must train. Only what is installed is tried."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from limbeck.registry import Entry, registry


@dataclass(frozen=True)
class Cell:
    """An objective (of any plugin) with the partners of one plugin."""

    objective: Entry
    generator: Entry
    teacher: Entry | None
    data: Entry | None

    def __str__(self) -> str:
        partners = [e.qualified for e in (self.generator, self.teacher, self.data) if e is not None]
        return f"{self.objective.qualified} on {', '.join(dict.fromkeys(partners))}"

    def recipe(self, steps: int, batch_size: int) -> dict:
        blocks = {"objective": self.objective, "generator": self.generator, "teacher": self.teacher, "data": self.data}
        named = {key: {"use": entry.qualified} for key, entry in blocks.items() if entry is not None}
        if self.teacher is not None and "trainable_copy" not in self.teacher.component.can:
            named["generator"]["init"] = "random"  # the default would copy the teacher
        if self.data is None and self.teacher is not None and self._reads_data():
            named["source"] = {"use": "trajectory"}  # the teacher's own states stand in
        return {
            "name": "cell",
            **named,
            "train": {"steps": steps, "batch_size": batch_size, "log_every": 1},
            "evaluate": {"samples": batch_size, "grid": 0, "compare": False},
            "report": {"write": False},
        }

    def _reads_data(self) -> bool:
        return registry.create("objective", self.objective.qualified).default_source == "data"


def possible_cells(plugin: str | None = None) -> list[Cell]:
    """Cells in which nothing is missing; those that `plugin` (an entry-point name) brings a part of, or all.

    Partners come from one plugin, since only they are sure to live in one space. An objective that asks nothing of a
    teacher is tried without one (pretraining), one that does with each.
    """
    cells = []
    for generator in registry.components("generator"):
        home = generator.plugin
        teachers = [e for e in registry.components("teacher") if e.plugin == home]
        data = next((e for e in registry.components("data") if e.plugin == home), None)
        for objective in registry.components("objective"):
            if plugin not in (None, home, objective.plugin):
                continue
            asks = bool(registry.needs_of(objective).teacher)
            for teacher in teachers if asks else [None]:
                if not registry.missing(objective, None, generator, teacher, data):
                    cells.append(Cell(objective, generator, teacher, data))
    return cells


def train_cell(cell: Cell, steps: int = 2, batch_size: int = 8, folder: Path | None = None) -> dict[str, float]:
    """Train a cell for a few steps with the engine; the last logged values. Raises whatever goes wrong."""
    import limbeck

    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            return train_cell(cell, steps, batch_size, Path(temporary) / "run")
    run = (limbeck.pretrain if cell.teacher is None else limbeck.distill)(
        cell.recipe(steps, batch_size), out=folder, progress=False
    )
    lines = [line for line in run.metrics if "loss" in line]
    assert {line["step"] for line in lines} >= {steps}, f"{cell}: {steps} steps were asked for; logged: {lines}"
    return lines[-1]
