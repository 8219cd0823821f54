"""What the command line reads from, and writes to, the terminal it was started on."""

import os
import sys
from collections.abc import Sequence


def completing() -> bool:
    """Whether a shell wants completions instead of running the command."""
    return "_LIMBECK_COMPLETE" in os.environ


def split_resume(arguments: Sequence[str]) -> list[str]:
    """`--resume=runs/x` as `--resume runs/x`: the folder is an argument, the option a flag."""
    split: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        split += [name, value] if name == "--resume" and equals else [argument]
    return split


def complain(message: str) -> None:
    """An error message on standard error, in red on a terminal that has colours."""
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        message = f"\x1b[31m{message}\x1b[0m"
    print(message, file=sys.stderr)
