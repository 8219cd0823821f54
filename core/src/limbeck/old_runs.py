"""Run folders that another version wrote: their recipe.yaml stores every option, so that it says the same after a
default changes, and may therefore name options that there are no more.

An options model lists those in `retired`, {name: what became of it}. From the recipe of a run they are dropped, with a
warning; anywhere else they are an error that says what became of them. Any other trouble with the recipe of a run is
told with the versions that wrote it.
"""

import json
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.errors import LimbeckError
from limbeck.recipe.schema import BLOCKS


class Written(NamedTuple):
    """What wrote the recipe of a run: distribution -> version."""

    folder: Path
    versions: dict[str, str]


def written(path: Path) -> Written | None:
    """Of a run's recipe.yaml, from the run.json beside it; None for any other recipe."""
    if path.name != "recipe.yaml":
        return None
    try:
        found = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))["versions"]
        return Written(path.parent, {str(name): str(number) for name, number in found.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def told(run: Written) -> str:
    """Which versions wrote it, and what can be done: the end of an error message."""
    changed = []
    for name, before in run.versions.items():
        if not name.startswith("limbeck"):
            continue
        try:
            now = version(name)
        except PackageNotFoundError:
            now = "not installed"
        changed.append(f"{name} {before}" if now == before else f"{name} {before} (now {now})")
    who = ", ".join(changed) or "an unknown version"
    return (
        f"The run {run.folder} was written by {who}. Use those versions, or, where the student does not depend on it, "
        f"correct {run.folder / 'recipe.yaml'}"
    )


def drop_retired(data: Any, run: Written) -> None:
    """Take options that there are no more out of a run's stored recipe, in place."""
    from limbeck.plugins.registry import registry

    for place, kind, block in _blocks(data):
        try:
            entry = registry.find(kind, block["use"])
            if entry.component.options is None:  # would import the component
                continue
            retired = getattr(registry.options_model(kind, block["use"]), "retired", {})
        except LimbeckError:  # told later, with its place
            continue
        for key in [key for key in block if key in retired]:
            del block[key]
            warnings.warn(f"{run.folder}: {place}.{key} is dropped: {retired[key]}", stacklevel=2)


def _blocks(data: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, kind, block) of everything in plain data that names a component and has options."""
    if not isinstance(data, dict):
        return
    for key, (kind, _) in BLOCKS.items():
        yield from _named(key, kind, data.get(key))
    lists = [("callback", data.get("callbacks"), "callbacks"), ("exporter", data.get("export"), "export")]
    evaluate = data.get("evaluate")
    if isinstance(evaluate, dict):
        lists.append(("metric", evaluate.get("metrics"), "evaluate.metrics"))
        for key in ("teacher", "teacher_fewest"):
            yield from _named(f"evaluate.{key}", "sampler", evaluate.get(key))
    for kind, items, path in lists:
        for i, item in enumerate(items if isinstance(items, list) else ()):
            yield from _named(f"{path}[{i}]", kind, item)


def _named(path: str, kind: str, block: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if isinstance(block, dict) and isinstance(block.get("use"), str):
        yield path, kind, block
