"""From the target that a manifest names to the thing itself: an attribute of a module, or the file of a recipe."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limbeck.errors import PluginLoadError, did_you_mean, first_line
from limbeck.plugins import discovery
from limbeck.plugins.index import Entry


def load_target(entry: Entry) -> Any:
    """The target of a component, imported where it is named. Raises PluginLoadError, with what to install."""
    target: Any = entry.component.target
    return load_named(entry, target) if isinstance(target, str) else target


def load_named(entry: Entry, target: str) -> Any:
    """Import `module:attribute` for a component. Raises PluginLoadError, with what to install."""
    module, _, attribute = target.partition(":")
    who = f"{entry.distribution} {entry.version}".strip()
    start = f"{who} could not load {entry.component.kind} {entry.component.name!r} ({target})"
    try:
        value: Any = import_module(module)
    except (Exception, SystemExit) as error:
        hint = _installation(entry, error)
        raise PluginLoadError(f"{start}:\n{first_line(error)}.{f' Install it with: {hint}' if hint else ''}") from error
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = did_you_mean(part, [n for n in dir(value) if not n.startswith("_")])
            raise PluginLoadError(f"{start}:\n{module} has no attribute {attribute!r}. {near}Tell the plugin's author.")
        value = getattr(value, part)
    return value


def _installation(entry: Entry, error: BaseException) -> str:
    """The command that brings what is missing, or nothing."""
    if entry.component.extra:
        return f'pip install "{entry.distribution}[{entry.component.extra}]"'
    found = next((f for f in discovery.listed() if f.distribution == entry.distribution), None)
    return discovery.import_fix(error, found).partition(", or set")[0] if found is not None else ""


def recipe_file(entry: Entry) -> Path:
    """The YAML file of a recipe, `package:path`."""
    package, _, relative = str(entry.component.target).partition(":")
    try:
        spec = find_spec(package)
    except (Exception, SystemExit) as error:
        raise PluginLoadError(f"{entry.distribution} has no package {package!r}: {first_line(error)}") from error
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, relative)
        if path.is_file():
            return path
    raise PluginLoadError(
        f"{entry.distribution} {entry.version} names recipe {entry.component.name!r} but has no file {relative!r} "
        f"in package {package!r}. Reinstall it: pip install --force-reinstall {entry.distribution}"
    )
