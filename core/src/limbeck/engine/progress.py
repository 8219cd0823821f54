"""What a person sees while a run goes: a bar with an ETA on a terminal, nothing in a pipe."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Any


class Progress:
    """A bar on standard error when that is a terminal; messages are always printed."""

    def __init__(self, title: str, steps: int, step: int, *, wanted: bool = True):
        self._bar: Any = None
        self._due = 0.0
        self._numbers: dict[str, float] = {}
        if wanted and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            counts = MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(steps)) + 1))
            eta = TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7))
            numbers = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # the one that gives way on a narrow terminal
            self._bar = Progress(
                TextColumn("  {task.description}", table_column=Column(no_wrap=True, min_width=len(title) + 2)),
                BarColumn(bar_width=24, table_column=Column(min_width=24)), counts, eta,
                TextColumn("{task.fields[shown]}", table_column=numbers), console=Console(stderr=True), expand=True,
            )  # fmt: skip
            self._task = self._bar.add_task(title, total=steps, completed=step, shown="")
            self._bar.start()

    def step(self, step: int) -> None:
        if self._bar is not None and time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.1
            self._bar.update(self._task, completed=step, shown=self._shown)

    def values(self, values: Mapping[str, float]) -> None:
        """The latest numbers, beside the bar; each stays until there is a newer one."""
        self._numbers.update(values)

    @property
    def _shown(self) -> str:
        return "  ".join(f"{name} {value:.3g}" for name, value in self._numbers.items() if math.isfinite(value))

    def doing(self, what: str) -> None:
        """Something other than steps takes time now."""
        if self._bar is not None:
            self._bar.update(self._task, shown=f"{what} ...  {self._shown}")

    def say(self, message: str) -> None:
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    def close(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step, shown=self._shown)
            self._bar.stop()
            self._bar = None
