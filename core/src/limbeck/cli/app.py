"""Assembles the command line: our commands, then those that plugins add."""

import sys
from typing import Annotated, Any

import typer

from limbeck.cli import comparing, looking, touring, working
from limbeck.cli.terminal import complain
from limbeck.errors import HookError
from limbeck.plugins.discovery import strict
from limbeck.plugins.hooks import Hooks
from limbeck.plugins.registry import registry

EXIT_CODES = """Exit codes: 0 done; 1 another failure; 2 wrong recipe, option, name or usage; 3 a plugin could not be
loaded or failed; 4 the output folder already holds a run; 5 torn or foreign checkpoint; 6 a loss or gradient was not
finite; 130 interrupted, saved and ready to resume."""

ENVIRONMENT = """Environment: LIMBECK_PLUGINS (allow-list), LIMBECK_DISABLE (deny-list), LIMBECK_STRICT=1 (plugin
problems raise), LIMBECK_DEBUG=1 (tracebacks), NO_COLOR."""


def _version(wanted: bool) -> None:
    if wanted:
        from limbeck import __version__

        print(f"limbeck {__version__}")
        raise typer.Exit()


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Distil slow generative models into fast ones, in every modality, through plugins.

    \b
    Look around:   limbeck plugins | limbeck list objectives | limbeck show dmd2 | limbeck matrix
    Distil:        limbeck distill digits_dmd2 | limbeck compare --on image/digits | limbeck tour
    Use the run:   limbeck sample runs/digits_dmd2 -n 64 -o digits.png
    """


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="limbeck",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=f"{EXIT_CODES}\n\n{ENVIRONMENT}",
    )
    app.callback()(_root)
    working.add(app)
    comparing.add(app)
    touring.add(app)
    looking.add(app)
    _add_plugin_commands(app)
    return app


def _add_plugin_commands(app: Any) -> None:
    """A plugin whose commands cannot be added costs its commands, not ours."""
    try:
        Hooks(plugins=registry.implementations())("add_cli_commands", app=app)
    except HookError as error:
        if strict():
            raise
        complain(str(error))
