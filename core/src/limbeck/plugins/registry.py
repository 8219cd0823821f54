"""The registry: list, describe and resolve what plugins bring.

    limbeck.registry.plugins()                          # a row per plugin: status, reason, fix
    limbeck.registry.find("objective", "dmd2")          # described, not imported
    limbeck.registry.resolve("objective", "dmd2")       # imported, on first use
    limbeck.create("objective", "dmd2", critic={"updates": 5})

A bare name works while one component has it; `plugin/name` (entry-point or distribution name first) always works. Two
modalities may have the same name (`image/diffusers`, `video/diffusers`); within one, the second is a duplicate.
Only registered names resolve, never a dotted path. The functions of this module are those of the one `Registry` object.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy

from limbeck.errors import AmbiguousComponent, PluginLoadError, RegistryError, UnknownComponent, did_you_mean
from limbeck.manifest import ABILITIES, KINDS, LIMBECK_API, Component, hookimpl
from limbeck.plugins import discovery
from limbeck.plugins.discovery import Found, PluginStatus, first_line
from limbeck.plugins.hooks import HookSpecs

# What the engine hands to a component of a kind beside its options: not options of a recipe.
PARTNERS = {
    "source": ("data", "teacher", "generator", "objective"),
    "view": ("samples", "cond", "captions"),
    "exporter": ("run", "directory"),
}
ROLES = ("generator", "teacher", "data")


@dataclass(frozen=True)
class Entry:
    """A component and who brings it."""

    component: Component
    plugin: str
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        return f"{self.plugin}/{self.component.name}"


def _collide(one: Component, other: Component) -> bool:
    """Whether two components of one kind and name cannot both be meant by it: of one modality, or of any."""
    return one.modality == other.modality or "any" in (one.modality, other.modality)


class Registered(AbstractContextManager):
    """What `Registry.register` returns: use it in `with`, or call `remove()`."""

    def __init__(self, registry: "Registry", found: Found, manifest: Any):
        self.registry, self.found, self.manifest = registry, found, manifest

    def remove(self) -> None:
        self.registry._extra.pop(self.found.name, None)
        self.registry.reload()

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Registry:
    """Knows every plugin and component. Discovery happens on the first question."""

    def __init__(self) -> None:
        self._rows: list[PluginStatus] | None = None
        self._extra: dict[str, tuple[Found, Any]] = {}
        self._resolved: dict[tuple[str, str], Any] = {}
        self._index: dict[tuple[str, str], list[Entry]] = {}
        self.manager = self._new_manager()

    @staticmethod
    def _new_manager() -> pluggy.PluginManager:
        manager = pluggy.PluginManager("limbeck")
        manager.add_hookspecs(HookSpecs)
        return manager

    # --- list and describe ---

    def plugins(self) -> list[PluginStatus]:
        """A row per plugin: what it brings, or why it does not work and what to do."""
        if self._rows is None:
            self._discover()
        assert self._rows is not None
        return list(self._rows)

    def reload(self) -> None:
        """Forget everything; the next question discovers again (after an installation, or a changed environment)."""
        self._rows, self._index, self._resolved = None, {}, {}
        self.manager = self._new_manager()

    def _discover(self) -> None:
        rows = discovery.load_plugins(self.manager, discovery.listed())
        names = {row.name: row.distribution for row in rows if row.status in ("ok", "broken")}
        for found, manifest in self._extra.values():
            if found.name in names:
                raise RegistryError(
                    f"plugin name {found.name!r} is already taken by {names[found.name]}; choose another"
                )
            rows.append(discovery.describe(self.manager, found, manifest))
        index: dict[tuple[str, str], list[Entry]] = {}
        for i, row in enumerate(rows):
            taken = []
            for component in row.components:
                entry = Entry(component, row.name, row.distribution, row.version)
                others = index.setdefault((component.kind, component.name), [])
                rival = next((other for other in others if _collide(other.component, component)), None)
                if rival is not None:
                    taken.append(f"{component.kind} {component.name!r} is already brought by {rival.distribution}")
                others.append(entry)
            if taken and row.status == "ok":
                rows[i] = replace(
                    row,
                    status="duplicate",
                    reason="; ".join(taken),
                    fix=f"write {row.name}/NAME in recipes, or set LIMBECK_DISABLE={row.name}",
                )
                if discovery.strict():
                    raise RegistryError(f"{row.distribution}: {rows[i].reason}. {rows[i].fix}")
        self._rows, self._index = rows, index

    def register(self, brought: Any, *, name: str = "inprocess") -> Registered:
        """Add components without installing anything, for tests and notebooks.

        Args:
            brought: a manifest (module or object with LIMBECK_API and hooks), or Components. A Component's target may
                then be the object itself instead of `module:attribute`.
            name: stands for the entry-point name in `name/component`.

        Returns:
            A context manager that removes them again.
        """
        manifest = brought
        if isinstance(brought, Component) or (isinstance(brought, Iterable) and not hasattr(brought, "components")):
            listing = [brought] if isinstance(brought, Component) else list(brought)

            @hookimpl
            def components() -> list[Component]:
                return listing

            manifest = SimpleNamespace(LIMBECK_API=LIMBECK_API, components=components)
        if name in self._extra:
            raise RegistryError(f"{name!r} is already registered in this process; choose another name")
        found = Found(name, getattr(manifest, "__name__", "(in process)"), f"(in process: {name})", "")
        self._extra[name] = (found, manifest)
        self.reload()
        try:
            row = next(row for row in self.plugins() if row.distribution == found.distribution)
            if row.status == "broken":
                raise RegistryError(f"{name}: {row.reason}")
        except Exception:
            del self._extra[name]
            self.reload()
            raise
        return Registered(self, found, manifest)

    def implementations(self) -> list[tuple[str, Any]]:
        """(entry-point name, manifest) of every registered plugin: where hooks are found."""
        self.plugins()
        return [(name.rpartition(":")[2], plugin) for name, plugin in self.manager.list_name_plugin() if plugin]

    def components(self, kind: str | None = None, modality: str | None = None) -> list[Entry]:
        """Everything described, sorted by kind and name. `modality` keeps those for it and those for any."""
        self.plugins()
        kinds = list(KINDS)
        found = [
            entry
            for entries in self._index.values()
            for entry in entries
            if kind in (None, entry.component.kind)
            and (modality is None or entry.component.modality in (modality, "any"))
        ]
        return sorted(found, key=lambda e: (kinds.index(e.component.kind), e.component.name, e.plugin))

    def modalities(self) -> list[str]:
        """The modalities that installed components name, `any` apart."""
        return sorted({e.component.modality for e in self.components()} - {"any"})

    def find(self, kind: str, name: str) -> Entry:
        """The one component of that name. Raises UnknownComponent or AmbiguousComponent."""
        self.plugins()
        if kind not in KINDS:
            raise UnknownComponent(f"no kind {kind!r}. {did_you_mean(kind, KINDS)}Kinds: {', '.join(KINDS)}")
        plugin, slash, bare = str(name).rpartition("/")
        entries = self._index.get((kind, bare), [])
        if slash:
            entries = [e for e in entries if plugin in (e.plugin, e.distribution)]
        if len(entries) == 1:
            return entries[0]
        if entries:
            names = " or ".join(repr(e.qualified) for e in entries)
            if not any(_collide(a.component, b.component) for a in entries for b in entries if a is not b):
                modalities = [e.component.modality for e in entries]
                listed = f"{', '.join(modalities[:-1])} and {modalities[-1]}"
                raise AmbiguousComponent(f"{kind} {name!r} exists for {listed}. Write {names}.")
            who = ", ".join(f"{e.distribution} {e.version}".strip() for e in entries)
            raise AmbiguousComponent(
                f"{kind} {name!r} is brought by {len(entries)} distributions: {who}. Write {names}."
            )
        raise UnknownComponent(self._unknown(kind, str(name)))

    def _unknown(self, kind: str, name: str) -> str:
        known = self.components(kind)
        names = sorted({e.component.name for e in known} | {e.qualified for e in known if "/" in name})
        bare = sorted({e.component.name for e in known})
        listing = ", ".join(bare[:12]) + (", ..." if len(bare) > 12 else "")
        message = f"no {kind} named {name!r}. {did_you_mean(name, names)}"
        message += f"Known: {listing or 'none'} (limbeck list {kind if kind == 'data' else kind + 's'})."
        plugin = name.partition("/")[0] if "/" in name else ""
        for row in self.plugins():
            if row.status != "ok" and (
                plugin in (row.name, row.distribution) or (not plugin and row.status != "disabled")
            ):
                message += f"\n{row.distribution} is {row.status}: {row.reason}. {row.fix}"
        return message

    # --- resolve ---

    def resolve(self, kind: str, name: str) -> Any:
        """Import what the component's target names; a recipe resolves to the path of its file."""
        entry = self.find(kind, name)
        key = (kind, entry.qualified)
        if key not in self._resolved:
            target: Any = entry.component.target
            if kind == "recipe" and isinstance(target, str):
                found: Any = self._recipe_file(entry)
            else:
                found = self._import(entry, target) if isinstance(target, str) else target
            self._resolved[key] = self._preset(entry, found) if entry.component.defaults else found
        return self._resolved[key]

    def _preset(self, entry: Entry, target: Any) -> Any:
        """A class as a component with `defaults` describes it: a subclass with the component's options and needs, and
        its name where the class has one for its messages. What is no class of options stays as it is: `create` gives it
        all options."""
        component = entry.component
        if not hasattr(target, "Options"):
            return target
        facts: dict[str, Any] = {"Options": self._options_of(entry), "__doc__": component.summary}
        facts |= {"name": component.name} if hasattr(target, "name") else {}
        facts |= {"needs": component.needs} if component.kind == "objective" else {}
        return type(target)(target.__name__, (target,), {**facts, "__module__": target.__module__})

    def _import(self, entry: Entry, target: str) -> Any:
        module, _, attribute = target.partition(":")
        who = f"{entry.distribution} {entry.version}".strip()
        start = f"{who} could not load {entry.component.kind} {entry.component.name!r} ({target})"
        try:
            value: Any = import_module(module)
        except (Exception, SystemExit) as error:
            found = next((f for f in discovery.listed() if f.distribution == entry.distribution), None)
            hint = f'pip install "{entry.distribution}[{entry.component.extra}]"' if entry.component.extra else ""
            if not hint and found is not None:
                hint = discovery.import_fix(error, found).partition(", or set")[0]
            raise PluginLoadError(
                f"{start}:\n{first_line(error)}.{f' Install it with: {hint}' if hint else ''}"
            ) from error
        for part in attribute.split("."):
            if not hasattr(value, part):
                near = did_you_mean(part, [n for n in dir(value) if not n.startswith("_")])
                raise PluginLoadError(
                    f"{start}:\n{module} has no attribute {attribute!r}. {near}Tell the plugin's author."
                )
            value = getattr(value, part)
        return value

    def _recipe_file(self, entry: Entry) -> Path:
        package, _, relative = str(entry.component.target).partition(":")
        try:
            spec = find_spec(package)
        except (Exception, SystemExit) as error:
            raise PluginLoadError(f"{entry.distribution} has no package {package!r}: {first_line(error)}") from error
        for place in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(place, relative)
            if path.is_file():
                return path
        raise PluginLoadError(
            f"{entry.distribution} {entry.version} names recipe {entry.component.name!r} but has no file {relative!r} "
            f"in package {package!r}. Reinstall it: pip install --force-reinstall {entry.distribution}"
        )

    # --- options and creation ---

    def options_model(self, kind: str, name: str) -> Any:
        """The pydantic model of the component's options with the manifest's `defaults`: the one its manifest names,
        else the target's `Options`, else one derived from its signature."""
        return self._options_of(self.find(kind, name))

    def _declared_options(self, entry: Entry) -> Any:
        component = entry.component
        if component.options is not None:
            return self._import(entry, component.options)
        target: Any = component.target
        target = self._import(entry, target) if isinstance(target, str) else target
        declared = getattr(target, "Options", None)
        return declared if declared is not None else derived_options(target, PARTNERS.get(component.kind, ()))

    def _options_of(self, entry: Entry) -> Any:
        key = (f"{entry.component.kind} options", entry.qualified)
        if key not in self._resolved:
            model = self._declared_options(entry)
            defaults = entry.component.defaults
            if defaults:
                from limbeck.options import with_defaults

                try:
                    model = with_defaults(model, defaults)
                except ValueError as error:
                    raise PluginLoadError(
                        f"{entry.distribution} states defaults of {entry.component.kind} {entry.component.name!r} that "
                        f"do not fit: {error}. Tell the plugin's author."
                    ) from error
            self._resolved[key] = model
        return self._resolved[key]

    def validated(self, kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as keyword arguments, checked and converted. Raises OptionError."""
        from pydantic import ValidationError

        from limbeck.recipe.option_errors import explain
        from limbeck.recipe.text import Origin

        model = self.options_model(kind, name)
        try:
            values = model.model_validate(dict(options))
        except ValidationError as error:
            owner = f"{kind} {name!r}"
            raise explain(error, model, dict(options), lambda path: Origin(owner), owner=owner) from None
        known: Any = model.model_fields
        if getattr(model, "derived_from_signature", False):
            known = values.model_fields_set | set(self.find(kind, name).component.defaults)
        return {key: getattr(values, key) for key in model.model_fields if key in known} | (values.model_extra or {})

    def create(self, kind: str, name: str, /, **options: Any) -> Any:
        """The component's target, called with validated options. Partners (`data=` of a source, ...) pass unchecked."""
        partners = {key: options.pop(key) for key in PARTNERS.get(kind, ()) if key in options}
        arguments = self.validated(kind, name, options)
        return self.resolve(kind, name)(**partners, **arguments)

    # --- abilities ---

    def needs_of(self, objective: Entry, options: Any = None) -> Any:
        """What an objective asks for with these options (a mapping or an instance of its model)."""
        needs = objective.component.needs
        if objective.component.options is None and not hasattr(options, "needs"):
            return needs
        if not hasattr(options, "needs"):
            model = self._options_of(objective)
            try:
                options = model.model_validate(dict(options or {}))
            except ValueError:  # wrong or incomplete options are somebody else's error: judge by the manifest alone
                return needs
        return needs | options.needs() if hasattr(options, "needs") else needs

    def missing(
        self,
        objective: Entry,
        options: Any = None,
        generator: Entry | None = None,
        teacher: Entry | None = None,
        data: Entry | None = None,
    ) -> list[tuple[str, str]]:
        """(role, ability) of everything the objective needs and its partners cannot; an absent partner can nothing."""
        partners = {"generator": generator, "teacher": teacher, "data": data}
        can = {role: partner.component.can if partner else frozenset() for role, partner in partners.items()}
        needs = self.needs_of(objective, options).by_role()
        return [(role, word) for role, words in needs.items() for word in sorted(words - can[role])]

    def explain_missing(
        self, objective: Entry, missing: Sequence[tuple[str, str]], partners: Mapping[str, Entry | None]
    ) -> str:
        """What is missing, who offers it, and which objectives work on this generator."""
        lines = []
        for role in dict.fromkeys(role for role, _ in missing):
            words = [word for r, word in missing if r == role]
            partner = partners.get(role)
            lines.append(f"objective {objective.component.name!r} needs of the {role}:")
            lines += [f"  {word}: {ABILITIES[word]}" for word in words]
            if partner is None:
                lines.append(f"  The recipe has no {role}.")
            else:
                lines.append(f"  {partner.qualified!r} offers {', '.join(sorted(partner.component.can)) or 'nothing'}.")
            offer = [e.qualified for e in self.components(role) if set(words) <= e.component.can]
            lines.append(
                f"  {'These' if offer else 'No installed'} {role}s offer it"
                + (f": {', '.join(offer)}." if offer else ".")
            )
        fits = [
            entry.component.name
            for entry in self.components("objective")
            if entry != objective and not self.missing(entry, None, *(partners.get(role) for role in ROLES))
        ]
        if fits:
            lines.append(
                f"Objectives that work on these partners: {', '.join(fits[:12])}{', ...' if len(fits) > 12 else ''}."
            )
        return "\n".join(lines)

    def catalogue(self, kind: str) -> "Catalogue":
        return Catalogue(self, kind)

    @property
    def objectives(self) -> "Catalogue":
        return self.catalogue("objective")


def derived_options(target: Any, partners: Sequence[str] = ()) -> Any:
    """A pydantic model of the keyword arguments of `target`, partners apart."""
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except Exception:
        hints = {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters) and not hasattr(target, "Options")
    fields: dict[str, Any] = {}
    for p in parameters:
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY) or p.name in partners:
            continue
        hint = hints.get(p.name, Any)
        if p.default is None:
            hint = hint | None if hint is not Any else hint
        fields[p.name] = (hint, ... if p.default is p.empty else p.default)
    config = ConfigDict(frozen=True, extra="allow" if takes_any else "forbid", arbitrary_types_allowed=True,
                        protected_namespaces=())  # fmt: skip
    model: Any = create_model(f"{getattr(target, '__name__', 'Derived')}Options", __config__=config, **fields)
    model.derived_from_signature = True
    return model


class Catalogue(Mapping[str, Any]):
    """`limbeck.objectives`: components of one kind by name; each value prints itself."""

    def __init__(self, registry: Registry, kind: str):
        self._registry, self._kind = registry, kind

    def __getitem__(self, name: str) -> Any:
        from limbeck.catalogue.cards import Card

        return Card(self._registry.find(self._kind, name), self._registry)

    def __iter__(self) -> Iterator[str]:
        entries = self._registry.components(self._kind)
        names = [e.component.name for e in entries]
        return iter([e.component.name if names.count(e.component.name) == 1 else e.qualified for e in entries])

    def __len__(self) -> int:
        return len(self._registry.components(self._kind))

    def __contains__(self, name: object) -> bool:
        try:
            self._registry.find(self._kind, str(name))
        except RegistryError:
            return False
        return True

    def __repr__(self) -> str:
        return f"{self._kind}s: {', '.join(self)}"


registry = Registry()
plugins, find, resolve, create = registry.plugins, registry.find, registry.resolve, registry.create
components, modalities, options_model, validated = (
    registry.components,
    registry.modalities,
    registry.options_model,
    registry.validated,
)
missing, explain_missing, register, reload = (
    registry.missing,
    registry.explain_missing,
    registry.register,
    registry.reload,
)
implementations, catalogue, needs_of = registry.implementations, registry.catalogue, registry.needs_of
objectives = registry.objectives
