"""The registry: list, describe and resolve what plugins bring.

    limbeck.registry.plugins()                          # a row per plugin: status, reason, fix
    limbeck.registry.find("objective", "dmd2")          # described, not imported
    limbeck.registry.resolve("objective", "dmd2")       # imported, on first use
    limbeck.create("objective", "dmd2", critic={"updates": 5})

A bare name works while one component has it; `plugin/name` (entry-point or distribution name first) always works. Two
modalities may have the same name (`image/diffusers`, `video/diffusers`); within one, the second is a duplicate.
Only registered names resolve, never a dotted path. The functions of this module are those of the one `Registry` object.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pluggy

from limbeck.errors import RegistryError
from limbeck.manifest import LIMBECK_API, Component, hookimpl
from limbeck.plugins import discovery
from limbeck.plugins.discovery import Found, PluginStatus
from limbeck.plugins.hookspecs import HookSpecs
from limbeck.plugins.index import Entry, Index
from limbeck.plugins.presets import preset_class, with_defaults_of
from limbeck.plugins.signatures import PARTNERS, declared_options
from limbeck.plugins.targets import load_target, recipe_file


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
        self._index: Index | None = None
        self._extra: dict[str, tuple[Found, Any]] = {}
        self._resolved: dict[tuple[str, str], Any] = {}
        self.manager = self._new_manager()

    @staticmethod
    def _new_manager() -> pluggy.PluginManager:
        manager = pluggy.PluginManager("limbeck")
        manager.add_hookspecs(HookSpecs)
        return manager

    # --- list and describe ---

    @property
    def index(self) -> Index:
        """Components by name, discovered when it is first looked at."""
        if self._index is None:
            self._index = Index(self._described())
        return self._index

    def _described(self) -> list[PluginStatus]:
        rows = discovery.load_plugins(self.manager, discovery.listed())
        names = {row.name: row.distribution for row in rows if row.status in ("ok", "broken")}
        for found, manifest in self._extra.values():
            if found.name in names:
                raise RegistryError(
                    f"plugin name {found.name!r} is already taken by {names[found.name]}; choose another"
                )
            rows.append(discovery.describe(self.manager, found, manifest))
        return rows

    def plugins(self) -> list[PluginStatus]:
        """A row per plugin: what it brings, or why it does not work and what to do."""
        return list(self.index.rows)

    def components(self, kind: str | None = None, modality: str | None = None) -> list[Entry]:
        """Everything described, sorted by kind and name. `modality` keeps those for it and those for any."""
        return self.index.components(kind, modality)

    def modalities(self) -> list[str]:
        """The modalities that installed components name, `any` apart."""
        return sorted({e.component.modality for e in self.components()} - {"any"})

    def find(self, kind: str, name: str) -> Entry:
        """The one component of that name. Raises UnknownComponent or AmbiguousComponent."""
        return self.index.find(kind, name)

    def implementations(self) -> list[tuple[str, Any]]:
        """(entry-point name, manifest) of every registered plugin: where hooks are found."""
        self.plugins()
        return [(name.rpartition(":")[2], plugin) for name, plugin in self.manager.list_name_plugin() if plugin]

    def reload(self) -> None:
        """Forget everything; the next question discovers again (after an installation, or a changed environment)."""
        self._index, self._resolved = None, {}
        self.manager = self._new_manager()

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

    # --- resolve ---

    def resolve(self, kind: str, name: str) -> Any:
        """Import what the component's target names; a recipe resolves to the path of its file."""
        entry = self.find(kind, name)
        key = (kind, entry.qualified)
        if key not in self._resolved:
            is_file = kind == "recipe" and isinstance(entry.component.target, str)
            self._resolved[key] = recipe_file(entry) if is_file else self._target(entry)
        return self._resolved[key]

    def _target(self, entry: Entry) -> Any:
        """A class with other defaults becomes a subclass. What is no class of options stays as it is: `create` gives it
        all options."""
        target = load_target(entry)
        if entry.component.defaults and hasattr(target, "Options"):
            return preset_class(entry, target, self.options_model(entry.component.kind, entry.qualified))
        return target

    # --- options and creation ---

    def options_model(self, kind: str, name: str) -> Any:
        """The pydantic model of the component's options, with the defaults of its manifest."""
        entry = self.find(kind, name)
        key = (f"{kind} options", entry.qualified)
        if key not in self._resolved:
            self._resolved[key] = with_defaults_of(entry, declared_options(entry))
        return self._resolved[key]

    def validated(self, kind: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as keyword arguments, checked and converted. Raises OptionError."""
        from pydantic import ValidationError

        from limbeck.recipe.option_errors import explain

        model = self.options_model(kind, name)
        try:
            values = model.model_validate(dict(options))
        except ValidationError as error:
            raise explain(error, model, dict(options), owner=f"{kind} {name!r}") from None
        known: Any = model.model_fields
        if getattr(model, "derived_from_signature", False):
            known = values.model_fields_set | set(self.find(kind, name).component.defaults)
        return {key: getattr(values, key) for key in model.model_fields if key in known} | (values.model_extra or {})

    def create(self, kind: str, name: str, /, **options: Any) -> Any:
        """The component's target, called with validated options. Partners (`data=` of a source, ...) pass unchecked."""
        partners = {key: options.pop(key) for key in PARTNERS.get(kind, ()) if key in options}
        arguments = self.validated(kind, name, options)
        return self.resolve(kind, name)(**partners, **arguments)


registry = Registry()
plugins, find, resolve, create = registry.plugins, registry.find, registry.resolve, registry.create
components, modalities, implementations = registry.components, registry.modalities, registry.implementations
options_model, validated = registry.options_model, registry.validated
register, reload = registry.register, registry.reload
