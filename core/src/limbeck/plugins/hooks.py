"""What a plugin or a callback may do besides bringing components.

A plugin implements a hook in its manifest, decorated with `limbeck.hookimpl`; a callback component is an object with
methods of these names (no decorator). Either takes only the arguments it wants, by name. Hooks grow by optional
arguments only, so what works today keeps working.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.errors import HookError
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
RUN_HOOKS = tuple(name for name in HOOKS if name not in ("components", "add_cli_commands"))


def wanted(function: Callable) -> frozenset[str] | None:
    """Names of the arguments that `function` takes; None when it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters)


class Hooks:
    """Calls one hook on every plugin and every callback of a run.

    An implementation that raises does not keep the others from being called; afterwards `HookError` names it, so that
    nothing fails in silence.

    Args:
        callbacks: callback objects of this run (instances of `callback` components).
        plugins: pairs (name, module or object); the plugins of the registry when None.
    """

    def __init__(self, callbacks: Iterable[Any] = (), plugins: Iterable[tuple[str, Any]] | None = None):
        if plugins is None:
            from limbeck.plugins.registry import registry

            plugins = registry.implementations()
        self.listeners = [(f"plugin {name!r}", plugin, True) for name, plugin in plugins]
        self.listeners += [(f"callback {type(callback).__name__!r}", callback, False) for callback in callbacks]
        self._found: dict[str, list[tuple[str, Callable, frozenset[str] | None]]] = {}

    def implementations(self, hook: str) -> list[tuple[str, Callable, frozenset[str] | None]]:
        """(who, function, names of the arguments it wants) of every implementation; looked up once."""
        if hook not in HOOKS:
            raise AttributeError(f"no hook {hook!r}; there are {', '.join(HOOKS)}")
        if hook not in self._found:
            functions = [(who, getattr(listener, hook, None), marked) for who, listener, marked in self.listeners]
            self._found[hook] = [
                (who, function, wanted(function))
                for who, function, marked in functions
                if callable(function) and (not marked or hasattr(function, "limbeck_impl"))
            ]
        return self._found[hook]

    def __call__(self, hook: str, **arguments: Any) -> list[Any]:
        """Results of every implementation of `hook` that are not None, plugins first."""
        results, failures = [], []
        for who, function, names in self.implementations(hook):
            try:
                result = function(**{k: v for k, v in arguments.items() if names is None or k in names})
            except Exception as error:
                failures.append((who, error))
            else:
                if result is not None:
                    results.append(result)
        if failures:
            said = "\n".join(f"{who} raised in hook {hook!r}: {type(e).__name__}: {e}" for who, e in failures)
            raise HookError(
                f"{said}\nFix it, take the callback out of the recipe, or switch the plugin off: LIMBECK_DISABLE=NAME."
            ) from failures[0][1]
        return results
