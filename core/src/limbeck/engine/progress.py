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
        self._said = ""
        if wanted and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("  {task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn("{task.fields[said]}"), console=Console(stderr=True),
            )  # fmt: skip
            self._task = self._bar.add_task(title, total=steps, completed=step, said="")
            self._bar.start()

    def step(self, step: int) -> None:
        if self._bar is not None and time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.1
            self._bar.update(self._task, completed=step, said=self._said)

    def values(self, values: Mapping[str, float]) -> None:
        """The latest numbers, beside the bar."""
        if self._bar is not None:
            shown = [f"{name} {value:.3g}" for name, value in values.items() if math.isfinite(value)]
            self._said = "  ".join(shown[:4])

    def doing(self, what: str) -> None:
        """Something other than steps takes time now."""
        if self._bar is not None:
            self._bar.update(self._task, said=f"{self._said}  {what} ...")

    def say(self, message: str) -> None:
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    def close(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=self._said)
            self._bar.stop()
            self._bar = None
