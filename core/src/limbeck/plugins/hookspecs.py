"""The hooks that a plugin or a callback may implement. Hooks grow by optional arguments only, so that what works today
keeps working.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from limbeck.manifest import Component, hookspec

if TYPE_CHECKING:
    from pathlib import Path


class HookSpecs:
    """The hooks, with their arguments."""

    @hookspec
    def components(self) -> Sequence[Component]:  # type: ignore[empty-body]
        """Return what this plugin brings. Called alone for each plugin, when it is described; must import no torch."""

    @hookspec
    def add_cli_commands(self, app: Any) -> None:
        """Add commands to the command line. `app` is the `typer.Typer` behind `limbeck`; import heavy modules inside
        the command. Called whenever the command line starts."""

    @hookspec
    def run_started(self, run: Any, built: Any, step: int) -> None:
        """A run is about to take its first step. `run` is its folder (Path), `built` the `limbeck.runs.build.Built`,
        `step` the number of steps already taken (0 unless resumed)."""

    @hookspec
    def step_ended(self, run: Any, step: int, values: dict[str, float]) -> None:
        """A generator update is done. `values` are the logged scalars of this step, by name."""

    @hookspec
    def evaluated(self, run: Any, step: int, values: dict[str, float]) -> None:
        """The student was measured. `values` are its metrics."""

    @hookspec
    def checkpoint_saved(self, run: Any, step: int, path: "Path") -> None:
        """A checkpoint is complete on disk, in the folder `path`."""

    @hookspec
    def run_ended(self, run: Any, step: int, status: str) -> None:
        """A run stopped: `status` is finished, interrupted or failed."""


HOOKS = tuple(name for name, value in vars(HookSpecs).items() if not name.startswith("_") and callable(value))
