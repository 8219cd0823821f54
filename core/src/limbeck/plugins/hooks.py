"""Calling the hooks of plugins and callbacks (`limbeck.plugins.hookspecs` lists them).

A plugin implements a hook in its manifest, decorated with `limbeck.hookimpl`; a callback component is an object with
methods of these names (no decorator). Either names the arguments that it takes.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from limbeck.errors import HookError
from limbeck.plugins.hookspecs import HOOKS


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
        plugins: pairs (name, module or object), usually `registry.implementations()`.
    """

    def __init__(self, callbacks: Iterable[Any] = (), *, plugins: Iterable[tuple[str, Any]]):
        self.listeners = [(f"plugin {name!r}", plugin, True) for name, plugin in plugins]
        self.listeners += [(f"callback {type(callback).__name__!r}", callback, False) for callback in callbacks]
        self._found: dict[str, list[tuple[str, Callable, frozenset[str] | None]]] = {}

    def implementations(self, hook: str) -> list[tuple[str, Callable, frozenset[str] | None]]:
        """(who, function, names of its arguments) of every implementation; looked up once."""
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
            reasons = "\n".join(f"{who} raised in hook {hook!r}: {type(e).__name__}: {e}" for who, e in failures)
            raise HookError(
                f"{reasons}\nMend it, take the callback out of the recipe, or switch the plugin off: "
                "LIMBECK_DISABLE=NAME."
            ) from failures[0][1]
        return results
