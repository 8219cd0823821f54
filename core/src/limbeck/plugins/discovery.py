"""Finding plugins: list (entry-point metadata, no import), then describe (one light manifest at a time).

Whatever goes wrong with one plugin becomes a row with a reason and a fix; the others are not touched. pluggy's bulk
loader is not used: it stops at the first broken plugin and drops a second one of the same name without a word.

    LIMBECK_PLUGINS   allow-list of entry-point or distribution names, comma-separated; empty means none (core stays)
    LIMBECK_DISABLE   deny-list
    LIMBECK_STRICT=1  raise instead of recording, for plugin authors and CI
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

import pluggy

from limbeck.errors import RegistryError, did_you_mean, first_line
from limbeck.manifest import ABILITIES, KINDS, LIMBECK_API, Component, Needs
from limbeck.plugins.hookspecs import HOOKS

GROUP = "limbeck.plugins"
OLDEST_API = 1  # manifests from OLDEST_API to LIMBECK_API are understood
CORE = "limbeck"
SNAKE_CASE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
TARGET = re.compile(r"[A-Za-z_][\w.]*:[\w./-]+")

# A manifest is read whenever `limbeck plugins` or shell completion runs; importing one of these makes everybody wait.
HEAVY = (
    "torch", "diffusers", "transformers", "torchaudio", "torchvision", "sklearn", "scipy", "trimesh", "jax",
    "tensorflow", "pandas", "matplotlib", "accelerate",
)  # fmt: skip


@dataclass(frozen=True)
class PluginStatus:
    """One row of `limbeck plugins`.

    name: entry-point name (the `image` of `image/digits`); api: what the manifest states, None when it could not be
    read; status: ok, disabled, incompatible, broken or duplicate; warnings: what an `ok` plugin should still mend.
    """

    name: str
    distribution: str
    version: str
    api: int | None = None
    status: str = "ok"
    reason: str = ""
    fix: str = ""
    components: tuple[Component, ...] = ()
    warnings: tuple[str, ...] = ()
    manifest: str = ""


@dataclass(frozen=True)
class Found:
    """An entry point and the distribution that declares it."""

    name: str
    module: str
    distribution: str
    version: str
    requires: tuple[str, ...] = ()
    entry_point: EntryPoint | None = None


class ManifestError(RegistryError):
    """Why a plugin cannot be used: a status, a reason and a fix."""

    def __init__(self, status: str, reason: str, fix: str = ""):
        self.status, self.reason, self.fix = status, reason, fix
        super().__init__(f"{reason}. {fix}" if fix else reason)


def listed() -> list[Found]:
    """Every entry point of the group, ours first, in an order that does not depend on the file system."""
    found = []
    for point in entry_points(group=GROUP):
        dist: Distribution | None = point.dist
        name = dist.name if dist is not None else "?"
        version = dist.version if dist is not None else ""
        found.append(Found(point.name, point.value, name, version, tuple((dist and dist.requires) or ()), point))
    return sorted(
        found, key=lambda f: (f.distribution != CORE, not f.distribution.startswith(f"{CORE}-"), f.distribution, f.name)
    )


def switched_off(name: str, distribution: str, environment: Mapping[str, str] = os.environ) -> str:
    """Why the environment keeps this plugin out, or nothing."""
    words = {variable: [w.strip() for w in environment.get(variable, "").split(",")] for variable in
             ("LIMBECK_PLUGINS", "LIMBECK_DISABLE")}  # fmt: skip
    if {name, distribution} & set(words["LIMBECK_DISABLE"]):
        return "LIMBECK_DISABLE names it"
    if (
        "LIMBECK_PLUGINS" in environment
        and distribution != CORE
        and not {name, distribution} & set(words["LIMBECK_PLUGINS"])
    ):
        return "LIMBECK_PLUGINS does not name it"
    return ""


def strict() -> bool:
    return os.environ.get("LIMBECK_STRICT", "") not in ("", "0")


def import_fix(error: BaseException, found: Found) -> str:
    """What to install, from the name of the missing module and the distribution's own requirements."""
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing:
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name

        for text in found.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if canonicalize_name(requirement.name) == canonicalize_name(missing):
                extra = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", str(requirement.marker or ""))
                if extra:
                    return f'pip install "{found.distribution}[{extra[1]}]"'
                return f'pip install "{requirement.name}{requirement.specifier}"'
    return f"pip install -U {found.distribution}, or set LIMBECK_DISABLE={found.name}"


def describe(manager: pluggy.PluginManager, found: Found, manifest: Any = None) -> PluginStatus:
    """Import one manifest, check it, register it, call its `components` hook alone. Raises `ManifestError`."""
    row = PluginStatus(found.name, found.distribution, found.version, manifest=found.module)
    warnings = []
    if manifest is None:
        before = set(sys.modules)
        try:
            manifest = import_module(found.module)
        except (Exception, SystemExit) as error:
            raise ManifestError("broken", first_line(error), import_fix(error, found)) from error
        heavy = [name for name in HEAVY if name in sys.modules and name not in before]
        if heavy:
            warnings.append(
                f"its manifest {found.module} imports {', '.join(heavy)}: every command waits for it. "
                "Import inside the component's own module instead."
            )
    check_api(getattr(manifest, "LIMBECK_API", None), found)
    warnings += unknown_hooks(manifest)
    if not any(hasattr(getattr(manifest, hook, None), "limbeck_impl") for hook in HOOKS):
        reason = f"manifest {found.module} implements no hook"
        raise ManifestError("broken", reason, "decorate its components() with @limbeck.hookimpl")
    if manager.is_registered(manifest):
        raise ManifestError("duplicate", f"manifest {found.module} is already registered by another entry point")
    try:
        manager.register(manifest, name=f"{found.distribution}:{found.name}")
        brought = manifest.components() if hasattr(getattr(manifest, "components", None), "limbeck_impl") else ()
        kept, problems = valid_components(brought)
    except (Exception, SystemExit) as error:
        if manager.is_registered(manifest):
            manager.unregister(manifest)
        if isinstance(error, ManifestError):
            raise
        raise ManifestError("broken", first_line(error), import_fix(error, found)) from error
    row = replace(row, api=manifest.LIMBECK_API, components=tuple(kept), warnings=tuple(warnings))
    if problems:
        row = replace(
            row,
            status="broken",
            reason="; ".join(problems),
            fix=f"pip install -U {found.distribution}, or ask its author",
        )
    return row


def check_api(api: Any, found: Found) -> None:
    upgrade = f"pip install -U {found.distribution}"
    if not isinstance(api, int):
        raise ManifestError("incompatible", f"manifest {found.module} states no LIMBECK_API number", upgrade)
    if not OLDEST_API <= api <= LIMBECK_API:
        reason = f"written for plugin API {api}; this Limbeck has API {LIMBECK_API}"
        raise ManifestError("incompatible", reason, upgrade if api < OLDEST_API else "pip install -U limbeck")


def unknown_hooks(manifest: Any) -> list[str]:
    """Implementations of hooks that do not exist: misspelt, or of a newer Limbeck."""
    names = [n for n in dir(manifest) if hasattr(getattr(manifest, n, None), "limbeck_impl") and n not in HOOKS]
    return [f"unknown hook {name!r}. {did_you_mean(name, HOOKS)}Hooks: {', '.join(HOOKS)}" for name in names]


def valid_components(brought: Any) -> tuple[list[Component], list[str]]:
    """The usable components, and what is wrong with the others."""
    if not isinstance(brought, Iterable) or isinstance(brought, str | bytes | Mapping):
        raise ManifestError(
            "broken", f"components() returned {type(brought).__name__}; it must return a list of Component"
        )
    kept: list[Component] = []
    problems: list[str] = []
    for component in brought:
        problem = component_problem(component)
        if not problem and any((c.kind, c.name) == (component.kind, component.name) for c in kept):
            problem = f"{component.kind} {component.name!r} is declared twice"
        if problem:
            problems.append(problem)
        else:
            kept.append(component)
    return kept, problems


def component_problem(component: Any) -> str:
    """What is wrong with one declaration, or nothing."""
    if not isinstance(component, Component):
        return f"components() holds a {type(component).__name__}; expected Component"
    what = f"{component.kind} {component.name!r}"
    if component.kind not in KINDS:
        return f"{what}: no kind {component.kind!r}. {did_you_mean(component.kind, KINDS)}Kinds: {', '.join(KINDS)}"
    if not isinstance(component.name, str) or not SNAKE_CASE.fullmatch(component.name):
        return f"{what}: a name is snake_case, without the plugin's prefix (`digits`, found as `image/digits`)"
    if isinstance(component.target, str) and not TARGET.fullmatch(component.target):
        return f"{what}: target must read 'module:attribute'; got {component.target!r}"
    if component.options is not None and not (
        isinstance(component.options, str) and TARGET.fullmatch(component.options)
    ):
        return f"{what}: options must read 'module:attribute'; got {component.options!r}"
    if not isinstance(component.needs, Needs):
        return f"{what}: needs must be limbeck.Needs(...); got {type(component.needs).__name__}"
    for word in sorted({*component.can, *(w for words in component.needs.by_role().values() for w in words)}):
        if word not in ABILITIES:
            return f"{what}: no ability {word!r}. {did_you_mean(word, ABILITIES)}See limbeck.manifest.ABILITIES"
    return ""


def load_plugins(manager: pluggy.PluginManager, found: Sequence[Found]) -> list[PluginStatus]:
    """A row for every entry point, in order. Strict mode raises what would have been recorded."""
    rows: list[PluginStatus] = []
    names: dict[str, str] = {}
    for one in found:
        rows.append(_row(manager, one, names))
        row = rows[-1]
        if strict() and (row.status in ("incompatible", "broken", "duplicate") or row.warnings):
            raise RegistryError(f"{row.distribution}: {row.reason or '; '.join(row.warnings)}. {row.fix}".rstrip(". "))
    return rows


def _row(manager: pluggy.PluginManager, one: Found, names: dict[str, str]) -> PluginStatus:
    row = PluginStatus(one.name, one.distribution, one.version, manifest=one.module)
    off = switched_off(one.name, one.distribution)
    if off:
        return replace(row, status="disabled", reason=off, fix="change that variable to bring it back")
    if one.name in names:
        return replace(
            row,
            status="duplicate",
            reason=f"plugin name {one.name!r} is already taken by {names[one.name]}",
            fix=f"pip uninstall {one.distribution}, or LIMBECK_DISABLE={names[one.name]} to use this one",
        )
    try:
        row = describe(manager, one)
    except ManifestError as error:
        if strict():
            raise
        return replace(row, status=error.status, reason=error.reason, fix=error.fix)
    names[one.name] = one.distribution
    return row
