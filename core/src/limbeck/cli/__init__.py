"""The command line. `limbeck --help` and `limbeck plugins` import no torch."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `limbeck`: errors of ours are a message and an exit code, not a traceback (LIMBECK_DEBUG=1)."""
    from limbeck.cli.app import build_app
    from limbeck.errors import LimbeckError

    arguments = split_resume(sys.argv[1:] if argv is None else argv)
    try:
        build_app()(args=arguments, prog_name="limbeck")
    except LimbeckError as error:
        if os.environ.get("LIMBECK_DEBUG", "") not in ("", "0"):
            raise
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)


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
