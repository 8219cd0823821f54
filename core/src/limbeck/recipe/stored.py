"""The recipe in a run folder holds every option of the version that wrote it. What this version does not read is
refused in one line: what was given, which version wrote it, what to do.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from limbeck.errors import OptionError, RecipeError, UnknownComponent

FORMAT = 2  # of run folders, in run.json: 1 stood for names and options that were there before the first release
ADVICE = "Use the version that wrote it, or make the run again from a recipe of this version"


@contextmanager
def refused_in_one_line(folder: Path | None) -> Iterator[None]:
    """Around reading the recipe of the run in `folder` (None: of no run). Raises RecipeError."""
    record = _record(folder) if folder is not None else {}
    if not record:
        yield
        return
    if record.get("format", 1) != FORMAT:
        form = f"is of format {record.get('format', 1)}, and this Limbeck reads format {FORMAT}"
        raise RecipeError(
            f"the run {folder}, written by {_written_by(record) or 'an unknown version'}, {form}. {ADVICE}"
        )
    try:
        yield
    except (OptionError, UnknownComponent) as error:
        changed = _written_by(record, changed_only=True)
        if not changed or (isinstance(error, OptionError) and Path(error.source).name != "recipe.yaml"):
            raise  # an edit by hand, or an override: its author's own doing
        problem = str(error).partition("\n")[0].rstrip(". ")
        raise RecipeError(
            f"the run {folder}, written by {changed}, is not read any more: {problem}. {ADVICE}"
        ) from error


def _record(folder: Path) -> Mapping[str, Any]:
    """run.json; empty when there is nothing readable."""
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _written_by(record: Mapping[str, Any], *, changed_only: bool = False) -> str:
    """`limbeck 0.0.1 (now 0.1.0), limbeck-image 0.1.0`: our distributions in the record, or those with another version
    now."""
    versions = record.get("versions")
    found = []
    for name, before in versions.items() if isinstance(versions, Mapping) else ():
        if not str(name).startswith("limbeck"):
            continue
        try:
            now = version(name)
        except PackageNotFoundError:
            now = "not installed"
        if now != before:
            found.append(f"{name} {before} (now {now})")
        elif not changed_only:
            found.append(f"{name} {before}")
    return ", ".join(found)


def differences(before: Any, after: Any, path: str = "") -> dict[str, list[Any]]:
    """{'train.lr': [old, new]}: how a stored recipe and one of now differ, as plain data."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        found: dict[str, list[Any]] = {}
        for key in dict.fromkeys((*before, *after)):
            found |= differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        return found
    return {} if before == after else {path: [before, after]}
