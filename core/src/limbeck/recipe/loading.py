"""Reading recipes: by registered name, from a file or a run folder, from a mapping.

    recipe = load("digits_dmd2", ["train.steps=300"])
    recipe.train.steps, recipe.objective.use, recipe.objective.options, recipe.to_yaml()

Order: `extends` (the base first), the file, Python keyword blocks, overrides.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError, OptionError, RecipeError, UnknownComponent
from limbeck.plugins.registry import registry
from limbeck.recipe import checking, stored
from limbeck.recipe.merge import Draft, nested
from limbeck.recipe.option_errors import brief
from limbeck.recipe.recipe import Recipe
from limbeck.recipe.text import Origin, Origins, origin_of, read


def load(
    recipe: str | os.PathLike | Mapping[str, Any] | Recipe,
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
        check: also check component names, options and abilities (`limbeck.recipe.check`).
        blocks: other top-level keys: a name, a mapping, or for a component the object itself.
    """
    given = {**blocks, **({"train": train} if train is not None else {})}
    with stored.refused_in_one_line(_run_of(recipe)):
        draft, name = _draft(recipe)
        draft.merge(given, {}, Origin("argument"))
        draft.override(overrides)
        draft.data.setdefault("name", name)
        generator = draft.data.get("generator")
        if isinstance(generator, dict) and generator.get("init") is None:
            copies = draft.data.get("teacher") is not None and not _renders(generator.get("use"))
            generator["init"] = "teacher" if copies else "random"
        made = draft.recipe()
        return checking.check(made) if check else made


def variant(recipe: Recipe, objective: str, overrides: Iterable[str] = (), name: str | None = None) -> Recipe:
    """The recipe with another objective: what `limbeck compare` runs. Typed, but not yet held against the
    registry (`check`).

    The recipe's own objective keeps its options. Another one starts from its defaults, and `train.phases`, which names
    the phases of the former, is dropped; `variants` of the recipe follow, then the overrides. The result has no
    variants: it is the recipe of one run.
    """
    draft = Draft.of(recipe)
    chosen = registry.find("objective", objective)
    if recipe.objective.object is not None or registry.find("objective", recipe.objective.use) != chosen:
        draft.merge({"objective": {"use": objective}}, {}, Origin(f"objective {objective!r}"))
        draft.data["train"].pop("phases", None)
    names = (chosen.component.name, chosen.qualified, f"{chosen.distribution}/{chosen.component.name}")
    for key, changes in (draft.data.pop("variants", None) or {}).items():
        if key in names:
            for path, value in changes.items():
                draft.merge(nested(path.split("."), value), {}, recipe.where(("variants", key, path)))
    draft.override(overrides)
    if name is not None:
        draft.data["name"] = name
    return draft.recipe()


def _draft(recipe: Any) -> tuple[Draft, str]:
    """What is given, merged with what it extends, and the name it has when it states none."""
    if isinstance(recipe, Recipe):
        return Draft.of(recipe), recipe.name
    draft = Draft()
    if isinstance(recipe, Mapping):
        _add(draft, recipe, {}, Origin("recipe given as a mapping"), Path.cwd(), ())
        return draft, "recipe"
    if isinstance(recipe, str | os.PathLike):
        path, name = locate(recipe)
        _add_file(draft, path, ())
        return draft, name
    raise RecipeError(f"a recipe is a name, a path or a mapping; got {type(recipe).__name__}")


def _run_of(recipe: Any) -> Path | None:
    """The folder of the run whose stored recipe this is, if it is one."""
    path = locate(recipe)[0] if isinstance(recipe, str | os.PathLike) else None
    return path.parent if path is not None and path.name == "recipe.yaml" else None


def locate(reference: str | os.PathLike, beside: Path | None = None) -> tuple[Path, str]:
    """(file, name) of a recipe given by registered name, path to a YAML file, or run folder."""
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


def _add_file(draft: Draft, path: Path, above: tuple[str, ...]) -> None:
    here = os.path.realpath(path)
    if here in above:
        raise RecipeError(f"recipes extend each other in a circle: {' -> '.join(Path(p).name for p in (*above, here))}")
    data, origins = read(path, shown(path))
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"holds {brief(data)}"
        raise RecipeError(
            f"{shown(path)}: a recipe is a mapping of keys such as teacher, objective, train; this {what}"
        )
    _add(draft, data, origins, Origin(shown(path)), path.parent, (*above, here))


def _add(draft: Draft, data: Mapping, origins: Origins, source: Origin, beside: Path, above: tuple[str, ...]) -> None:
    data = dict(data)
    base = data.pop("extends", None)
    if base is not None:
        where = origin_of(origins, ("extends",)) if origins else source
        if not isinstance(base, str | os.PathLike):
            message = f"must be the name or path of one recipe; got {brief(base)}"
            raise OptionError(message, path="extends", source=where.source, line=where.line)
        try:
            _add_file(draft, locate(base, beside)[0], above)
        except UnknownComponent as error:
            raise UnknownComponent(f"{where.place}  extends: {error}") from None
        draft.data.pop("name", None)
    draft.merge(data, origins, source)


def shown(path: Path) -> str:
    """The path as a person would type it."""
    try:
        return os.path.relpath(path) if path.absolute().is_relative_to(Path.cwd()) else str(path)
    except (OSError, ValueError):
        return str(path)


def _renders(use: Any) -> bool:
    """Whether a generator is a scene: no teacher's network could be its start."""
    try:
        return "renders" in registry.find("generator", str(use)).component.can
    except LimbeckError:
        return False
