"""The command line. `limbeck --help` and `limbeck plugins` import no torch."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `limbeck`: errors of ours are a message and an exit code, not a traceback (LIMBECK_DEBUG=1)."""
    from limbeck.cli.terminal import complain, completing, split_resume
    from limbeck.errors import LimbeckError

    # By default OpenMP's threads spin while they wait. On a machine that does anything else at the time, small layers
    # then take 10 to 40 times as long (seen: 25 ms a step on one thread, 1,200 ms on two beside one busy process).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = split_resume(sys.argv[1:] if argv is None else argv)
    try:
        if [a for a in arguments if a != "--json"] in (["plugins"], ["plugins", "list"]) and not completing():
            from limbeck.cli.plugin_table import print_plugins

            print_plugins("--json" in arguments)  # without the half of the start-up that typer and pydantic take
        else:
            from limbeck.cli.app import build_app

            build_app()(args=arguments, prog_name="limbeck")
    except (LimbeckError, OSError) as error:
        if os.environ.get("LIMBECK_DEBUG", "") not in ("", "0"):
            raise
        complain(str(error))
        sys.exit(error.exit_code if isinstance(error, LimbeckError) else 1)
