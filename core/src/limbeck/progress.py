"""A bar for what is made before a run can begin: stored pairs, teacher texts, encoded prompts. Imports no torch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]  # (done, total)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress | None]:
    """A bar on standard error when that is a terminal, None in a pipe; it vanishes at the end."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)


__all__ = ["Progress", "progress_bar"]
