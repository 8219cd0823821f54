"""Recipes: everything a run needs, read, merged, overridden and checked before torch is imported.

    recipe = limbeck.recipe.recipe.load("digits_dmd2", ["train.steps=300"])
    recipe.train.steps, recipe.objective.use, recipe.objective.options, recipe.to_yaml()

Order: `extends` (the base first), the file, Python keyword blocks, overrides. Mappings merge key by key; a block whose
`use` changes forgets the options of the component it named before.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError

from limbeck import old_runs
from limbeck.errors import LimbeckError, MissingAbility, OptionError, RecipeError, UnknownComponent, did_you_mean
from limbeck.recipe import text as recipe_text
from limbeck.recipe.option_errors import explain
from limbeck.recipe.schema import BLOCKS, Block, Schema
from limbeck.recipe.text import Origin, YamlPath, dotted

Origins = dict[YamlPath, Origin]


class Recipe(Schema):
    """A resolved recipe: typed, frozen, every default filled in."""

    _origins: Origins = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Equal in content; where it was written does not count. Objects are equal when they are the same."""
        if not isinstance(other, Recipe):
            return NotImplemented
        mine, theirs = ([b.object for _, _, b in recipe.blocks()] for recipe in (self, other))
        return self.to_dict() == other.to_dict() and all(a is b for a, b in zip(mine, theirs, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def blocks(self) -> Iterator[tuple[YamlPath, str, Block]]:
        """(path, kind of component, block) of everything that names a component."""
        for key, (kind, _) in BLOCKS.items():
            block = getattr(self, key)
            if block is not None:
                yield (key,), kind, block
        for key in ("teacher", "teacher_fewest"):
            block = getattr(self.evaluate, key)
            if block is not None:
                yield ("evaluate", key), "sampler", block
        for i, block in enumerate(self.evaluate.metrics):
            yield ("evaluate", "metrics", i), "metric", block
        for i, block in enumerate(self.callbacks):
            yield ("callbacks", i), "callback", block
        for i, block in enumerate(self.export):
            yield ("export", i), "exporter", block

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load` turns back into an equal recipe. A component given as object leaves a placeholder."""
        data = self.model_dump(mode="json")
        for place, key in ((data["evaluate"], "metrics"), (data, "callbacks"), (data, "export")):
            place[key] = [block["use"] if set(block) == {"use"} else block for block in place[key]]
        if data["train"]["phases"]:
            phases = data["train"]["phases"].items()
            data["train"]["phases"] = {n: {k: v for k, v in p.items() if v is not None} for n, p in phases}
        return {k: v for k, v in data.items() if v is not None}

    def to_yaml(self) -> str:
        objects = [dotted(path) for path, _, block in self.blocks() if block.object is not None]
        note = f"# given as Python objects, pass them again: {', '.join(objects)}\n" if objects else ""
        return note + recipe_text.dump(self.to_dict())

    def where(self, path: YamlPath) -> Origin:
        """The file and line that set `path`, or the nearest thing above it."""
        return origin_of(self._origins, path)


def origin_of(origins: Origins, path: YamlPath) -> Origin:
    for end in range(len(path), -1, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return Origin("recipe")


# --- reading and merging ---------------------------------------------------------------------------------------------


class _Draft:
    """A recipe being put together: plain data, the origin of every path, and the Python objects that stand in it."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: Origins = {}
        self.objects: dict[YamlPath, Any] = {}

    def merge(self, data: Mapping[str, Any], origins: Origins, source: Origin) -> None:
        self.origins.setdefault((), origins.get((), source))
        self._merge(self.data, data, (), origins, source)

    def _merge(self, base: dict[str, Any], new: Mapping, path: YamlPath, origins: Origins, source: Origin) -> None:
        for key, value in new.items():
            here = (*path, key)
            value = self._block(here, value)
            origin = origin_of(origins, here) if origins else source
            if isinstance(value, Mapping) and isinstance(base.get(key), dict):
                self._forget_options(base[key], value, here)
                self.origins[here] = origin
                self._merge(base[key], value, here, origins, source)
            else:
                self._drop(here)
                self.origins[here] = origin
                if isinstance(value, Mapping):
                    base[key] = {}
                    self._merge(base[key], value, here, origins, source)
                else:
                    base[key] = value
                    self.origins.update({p: o for p, o in origins.items() if p[: len(here)] == here})

    def _block(self, path: YamlPath, value: Any) -> Any:
        """`objective: dmd2` means `{use: dmd2}`; what is neither text nor a mapping is the component itself."""
        samplers = {("evaluate", "teacher"), ("evaluate", "teacher_fewest")}
        if path not in {(key,) for key in BLOCKS} | samplers or value is None:
            return value
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, Mapping):
            if _is_component(value.get("use")):
                return {**value, **self._placeholder(path, value["use"])}
            return value
        return self._placeholder(path, value) if _is_component(value) else value

    def _placeholder(self, path: YamlPath, component: Any) -> dict[str, str]:
        self._drop(path)
        self.objects[path] = component
        return {"use": f"<object {type(component).__module__}.{type(component).__qualname__}>"}

    def _forget_options(self, base: dict[str, Any], new: Mapping, path: YamlPath) -> None:
        if "use" not in new or "use" not in base or new["use"] == base["use"]:
            return
        kept = BLOCKS[path[0]][1] if path[0] in BLOCKS else ("steps",)
        for key in [k for k in base if k not in kept]:
            self._drop((*path, key))
            del base[key]
        if not str(new["use"]).startswith("<object "):
            self.objects.pop(path, None)

    def _drop(self, path: YamlPath) -> None:
        for p in [p for p in self.origins if p[: len(path)] == path]:
            del self.origins[p]

    def set_aside_objects(self) -> None:
        """Metrics and callbacks given as objects, in their lists."""
        places: tuple[tuple[Any, YamlPath], ...] = (
            (self.data.get("evaluate"), ("evaluate", "metrics")),
            (self.data, ("callbacks",)),
            (self.data, ("export",)),
        )
        for place, path in places:
            items = place.get(path[-1]) if isinstance(place, dict) else None
            if isinstance(items, list | tuple):
                place[path[-1]] = [
                    self._placeholder((*path, i), item) if _is_component(item) else item for i, item in enumerate(items)
                ]


def _is_component(value: Any) -> bool:
    return value is not None and not isinstance(value, str | bytes | int | float | list | tuple | set | Mapping)


def _locate(reference: str | os.PathLike, beside: Path | None = None) -> tuple[Path, str]:
    """(file, name) of a recipe given by registered name, path to a YAML file, or run folder."""
    from limbeck.plugins.registry import registry

    text = os.fspath(reference)
    path = Path(os.path.expanduser(text))
    if beside is not None and not path.is_absolute():
        path = beside / path
    if text.endswith((".yaml", ".yml")):
        if not path.is_file():
            raise RecipeError(f"no recipe file {path}. Registered recipes: limbeck recipes")
        name = path.stem if path.name != "recipe.yaml" else path.absolute().parent.name
        return path, name
    try:
        entry = registry.find("recipe", text)
    except UnknownComponent as error:
        if (path / "recipe.yaml").is_file():
            return path / "recipe.yaml", path.name
        raise UnknownComponent(f"{error}\nA recipe is a registered name, a .yaml file or a run folder.") from None
    return registry.resolve("recipe", entry.qualified), entry.component.name


def _add_file(draft: _Draft, path: Path, above: tuple[str, ...]) -> None:
    here = os.path.realpath(path)
    if here in above:
        raise RecipeError(f"recipes extend each other in a circle: {' -> '.join(Path(p).name for p in (*above, here))}")
    data, origins = recipe_text.read(path, _shown(path))
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds {_brief(data)}"
        raise RecipeError(
            f"{_shown(path)}: a recipe is a mapping of keys such as teacher, objective, train; this {what}"
        )
    _add(draft, data, origins, Origin(_shown(path)), path.parent, (*above, here))


def _add(draft: _Draft, data: Mapping, origins: Origins, source: Origin, beside: Path, above: tuple[str, ...]) -> None:
    data = dict(data)
    base = data.pop("extends", None)
    if base is not None:
        if not isinstance(base, str | os.PathLike):
            where = origin_of(origins, ("extends",)) if origins else source
            message = f"must be the name or path of one recipe; got {_brief(base)}"
            raise OptionError(message, path="extends", source=where.source, line=where.line)
        try:
            _add_file(draft, _locate(base, beside)[0], above)
        except UnknownComponent as error:
            where = origin_of(origins, ("extends",)) if origins else source
            raise type(error)(_at(where, "extends", str(error))) from None
        draft.data.pop("name", None)
    draft.merge(data, origins, source)


def _shown(path: Path) -> str:
    """The path as a person would type it."""
    try:
        return os.path.relpath(path) if path.absolute().is_relative_to(Path.cwd()) else str(path)
    except (OSError, ValueError):
        return str(path)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _at(where: Origin, path: str, message: str) -> str:
    place = f"{where.source}:{where.line}" if where.line else where.source
    return f"{place}  {path}: {message}"


def load(
    recipe: "str | os.PathLike | Mapping[str, Any] | Recipe",
    overrides: Iterable[str] = (),
    *,
    train: Mapping[str, Any] | None = None,
    check: bool = True,
    **blocks: Any,
) -> Recipe:
    """Read, merge and check a recipe.

    Args:
        recipe: registered name, path to YAML, run folder, mapping, or a `Recipe`.
        overrides: `path=value` texts, as on the command line.
        train: keys of the train section.
        check: also check component names, options and abilities (`limbeck.recipe.recipe.check`).
        blocks: other top-level keys: a name, a mapping, or for a component the object itself.
    """
    if isinstance(recipe, str | os.PathLike):
        run = old_runs.written(_locate(recipe)[0])
        if run is not None:
            try:
                return _load(recipe, overrides, train, check, blocks, run)
            except UnknownComponent as error:
                raise UnknownComponent(f"{error}\n{old_runs.told(run)}") from error
            except OptionError as error:
                if Path(error.source).name != "recipe.yaml":
                    raise
                said = f"{error.message}\n{old_runs.told(run)}"
                raise OptionError(said, path=error.path, source=error.source, line=error.line) from error
    return _load(recipe, overrides, train, check, blocks)


def _load(recipe: Any, overrides: Iterable[str], train: Any, check: bool, blocks: Mapping, run: Any = None) -> Recipe:
    draft = _Draft()
    if isinstance(recipe, Recipe):
        draft.merge(recipe.to_dict(), recipe._origins, Origin("recipe"))
        draft.objects = {path: block.object for path, _, block in recipe.blocks() if block.object is not None}
        name = recipe.name
    elif isinstance(recipe, Mapping):
        _add(draft, recipe, {}, Origin("recipe given as a mapping"), Path.cwd(), ())
        name = "recipe"
    elif isinstance(recipe, str | os.PathLike):
        path, name = _locate(recipe)
        _add_file(draft, path, ())
        if run is not None:
            old_runs.drop_retired(draft.data, run)
    else:
        raise RecipeError(f"a recipe is a name, a path or a mapping; got {type(recipe).__name__}")
    given = {**blocks, **({"train": train} if train is not None else {})}
    draft.merge(given, {}, Origin("argument"))
    _override(draft, overrides)
    draft.data.setdefault("name", name)
    generator = draft.data.get("generator")
    if isinstance(generator, dict) and generator.get("init") is None:
        copies = draft.data.get("teacher") is not None and not _renders(generator.get("use"))
        generator["init"] = "teacher" if copies else "random"
    draft.set_aside_objects()
    made = _validate(draft)
    return _check(made) if check else made


def _renders(use: Any) -> bool:
    """Whether a generator is a scene: no teacher's network could be its start."""
    from limbeck.plugins.registry import registry

    try:
        return "renders" in registry.find("generator", str(use)).component.can
    except LimbeckError:
        return False


def variant(recipe: Recipe, objective: str, overrides: Iterable[str] = (), name: str | None = None) -> Recipe:
    """The recipe with another objective: what `limbeck compare` runs. Typed, but not yet held against the
    registry (`check`).

    The recipe's own objective keeps its options. Another one starts from its defaults, and `train.phases`, which names
    the phases of the former, is dropped; `variants` of the recipe follow, then the overrides. The result has no
    variants: it is the recipe of one run.
    """
    from limbeck.plugins.registry import registry

    draft = _Draft()
    draft.merge(recipe.to_dict(), recipe._origins, Origin("recipe"))
    draft.objects = {path: block.object for path, _, block in recipe.blocks() if block.object is not None}
    chosen = registry.find("objective", objective)
    if recipe.objective.object is not None or registry.find("objective", recipe.objective.use) != chosen:
        draft.merge({"objective": {"use": objective}}, {}, Origin(f"objective {objective!r}"))
        draft.data["train"].pop("phases", None)
    names = (chosen.component.name, chosen.qualified, f"{chosen.distribution}/{chosen.component.name}")
    for key, changes in (draft.data.pop("variants", None) or {}).items():
        if key in names:
            for path, value in changes.items():
                draft.merge(_nested(path.split("."), value), {}, recipe.where(("variants", key, path)))
    _override(draft, overrides)
    if name is not None:
        draft.data["name"] = name
    return _validate(draft)


def _nested(keys: Iterable[str], value: Any) -> Any:
    for key in reversed(list(keys)):
        value = {key: value}
    return value


def _override(draft: _Draft, overrides: Iterable[str]) -> None:
    """`path=value` texts, those that choose a component first."""
    for text in sorted(overrides, key=lambda text: not text.partition("=")[0].strip().endswith(("use", *BLOCKS))):
        keys, value = recipe_text.parse_override(text)
        shortcuts = draft.data.get("shortcuts") or {}
        if shortcuts and keys[0] not in (*shortcuts, *Schema.model_fields):
            known = (*shortcuts, *Schema.model_fields)
            raise RecipeError(
                f"override {text!r}: unknown key '{keys[0]}'. {did_you_mean(keys[0], known)}"
                f"Short names of this recipe: {', '.join(shortcuts)}; sections: {', '.join(Schema.model_fields)}"
            )
        keys = _full_path(keys, shortcuts)
        draft.merge(_nested(keys, value), {}, Origin(f"override {text!r}"))


def _full_path(keys: tuple[str, ...], shortcuts: Any) -> tuple[str, ...]:
    """An override's path, a recipe's shortcut at its head replaced by what it stands for."""
    if not isinstance(shortcuts, Mapping) or keys[0] not in shortcuts:
        return keys
    return (*str(shortcuts[keys[0]]).split("."), *keys[1:])


def _validate(draft: _Draft) -> Recipe:
    try:
        made = Recipe.model_validate(draft.data)
    except ValidationError as error:
        raise explain(error, Recipe, draft.data, lambda path: origin_of(draft.origins, path)) from None
    except RecursionError:
        raise RecipeError("nested too deeply to be a recipe") from None
    made._origins.update(draft.origins)
    for path, _, block in made.blocks():
        if path in draft.objects:
            block._object = draft.objects[path]
    return made


# --- checking against the registry -----------------------------------------------------------------------------------


def check(recipe: Recipe, *, resolve: bool = False) -> Recipe:
    """Refuse unknown components, wrong options and partners that lack an ability.

    Without `resolve` no component is imported: components whose manifest names no options model keep their options
    unchecked. With it they are imported (and torch with them) and every option is checked.

    Returns:
        The recipe with the defaults of its components' options filled in, so that it says the same after a default
        changes. `generator: {use: ..., init: teacher}` without options stays as it is: it means a copy of the teacher.
    """
    entries = {path: _entry(recipe, path, kind, block) for path, kind, block in recipe.blocks()}
    data = recipe.to_dict()
    for path, kind, block in recipe.blocks():
        if entries[path] is None:
            continue
        options = _options(recipe, path, kind, block, resolve)
        copies_teacher = path == ("generator",) and recipe.generator.init == "teacher" and not block.options
        if options and not copies_teacher:
            place: Any = data
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = {**block.model_dump(mode="json"), **options}
    _check_abilities(recipe, {str(path[0]): entry for path, entry in entries.items() if len(path) == 1})
    draft = _Draft()
    draft.data, draft.origins = data, recipe._origins
    draft.objects = {path: block.object for path, _, block in recipe.blocks() if block.object is not None}
    return _validate(draft)


def _entry(recipe: Recipe, path: YamlPath, kind: str, block: Block) -> Any:
    """The registry's entry of a block; None for an object."""
    from limbeck.plugins.registry import registry

    if block.object is not None:
        return None
    where, place = recipe.where((*path, "use")), dotted((*path, "use"))
    if block.use.startswith("<object "):
        raise RecipeError(
            _at(where, place, f"{block.use} was a Python object in the run that wrote this recipe; pass it again: ")
            + f"limbeck.distill(..., {path[0]}=...), or name a registered {kind}"
        )
    try:
        return registry.find(kind, block.use)
    except LimbeckError as error:
        raise type(error)(_at(where, place, str(error))) from None


def _options(recipe: Recipe, path: YamlPath, kind: str, block: Block, resolve: bool) -> dict[str, Any]:
    """The block's options, checked and completed. Empty when they cannot be checked without importing the component."""
    from limbeck.plugins.registry import registry

    if registry.find(kind, block.use).component.options is None and not resolve:
        return {}
    model = registry.options_model(kind, block.use)
    try:
        options = model.model_validate(block.options)
    except ValidationError as error:
        raise explain(
            error, model, block.options, recipe.where, prefix=path, owner=f"{kind} {block.use!r}",
            also=BLOCKS[path[0]][1] if path[0] in BLOCKS else (),
        ) from None  # fmt: skip
    return {} if getattr(model, "derived_from_signature", False) else options.model_dump(mode="json")


def _check_abilities(recipe: Recipe, entries: Mapping[str, Any]) -> None:
    from limbeck.plugins.registry import registry

    objective, generator = entries.get("objective"), entries.get("generator")
    if generator is not None and recipe.generator.init == "teacher" and "renders" in generator.component.can:
        where = recipe.where(("generator", "init"))
        message = f"{generator.qualified!r} is a scene, and a teacher's network is no start for it. Use init: random"
        raise RecipeError(_at(where, "generator.init", message))
    sampler = entries.get("sampling")
    if generator is not None and sampler is not None:
        lacking = sorted(sampler.component.can & {"cache", "frame_time"} - generator.component.can)
        if lacking:
            offer = [e.qualified for e in registry.components("generator") if set(lacking) <= e.component.can]
            message = (
                f"sampler {sampler.qualified!r} walks generators with {', '.join(lacking)}, which "
                f"{generator.qualified!r} has not. These have: {', '.join(offer) or 'none installed'}"
            )
            raise MissingAbility(_at(recipe.where(("sampling", "use")), "sampling.use", message))
    if objective is None:
        return
    roles = ("generator", "teacher", "data")
    given = {role: getattr(recipe, role) for role in roles}
    known = {role: entries.get(role) for role in roles}
    missing = registry.missing(objective, recipe.objective.options, known["generator"], known["teacher"], known["data"])
    # a partner given as an object is judged when it is built
    missing = [(role, word) for role, word in missing if given[role] is None or given[role].object is None]
    if not missing:
        return
    where = recipe.where(("objective", "use"))
    place = f"{where.source}:{where.line}" if where.line else where.source
    raise MissingAbility(f"{place}  {registry.explain_missing(objective, missing, known)}")


_check = check  # `load` has an argument of that name

__all__ = ["Recipe", "check", "did_you_mean", "load", "variant"]
