"""A recipe against the registry: components that are not there, wrong options, partners that lack an ability."""

from typing import Any

from pydantic import ValidationError

from limbeck.errors import LimbeckError, MissingAbility, RecipeError
from limbeck.plugins.abilities import ROLES, explain_missing, missing
from limbeck.plugins.index import Entry
from limbeck.plugins.registry import registry
from limbeck.recipe.merge import OBJECT, Draft
from limbeck.recipe.option_errors import explain
from limbeck.recipe.recipe import Recipe
from limbeck.recipe.schema import Block, slot_at
from limbeck.recipe.text import YamlPath, dotted


def check(recipe: Recipe, *, resolve: bool = False) -> Recipe:
    """Refuse unknown components, wrong options and partners that lack an ability.

    Without `resolve` no component is imported: components whose manifest names no options model keep their options
    unchecked. With it they are imported (and torch with them) and every option is checked.

    Returns:
        The recipe with the defaults of its components' options filled in, so that it means the same after a default
        changes. `generator: {use: ..., init: teacher}` without options stays as it is: it means a copy of the teacher.
    """
    entries = {path: _entry(recipe, path, kind, block) for path, kind, block in recipe.blocks()}
    draft = Draft()
    draft.data, draft.origins, draft.objects = recipe.to_dict(), dict(recipe._origins), recipe.objects()
    for path, kind, block in recipe.blocks():
        if entries[path] is None:
            continue
        options = _options(recipe, path, kind, block, resolve)
        copies_teacher = path == ("generator",) and recipe.generator.init == "teacher" and not block.options
        if options and not copies_teacher:
            holder: Any = draft.data
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = {**block.model_dump(mode="json"), **options}
    _check_abilities(recipe, {str(path[0]): entry for path, entry in entries.items() if len(path) == 1})
    return draft.recipe()


def _entry(recipe: Recipe, path: YamlPath, kind: str, block: Block) -> Entry | None:
    """The registry's entry of a block; None for an object."""
    if block.object is not None:
        return None
    if block.use.startswith(OBJECT):
        message = (
            f"{block.use} was a Python object in the run that wrote this recipe; pass it again: "
            f"limbeck.distill(..., {path[0]}=...), or name a registered {kind}"
        )
        raise RecipeError(_located(recipe, (*path, "use"), message))
    try:
        return registry.find(kind, block.use)
    except LimbeckError as error:
        raise type(error)(_located(recipe, (*path, "use"), str(error))) from None


def _located(recipe: Recipe, path: YamlPath, message: str) -> str:
    return f"{recipe.where(path).place}  {dotted(path)}: {message}"


def _options(recipe: Recipe, path: YamlPath, kind: str, block: Block, resolve: bool) -> dict[str, Any]:
    """The block's options, checked and completed. Empty when they cannot be checked without importing the component."""
    if registry.find(kind, block.use).component.options is None and not resolve:
        return {}
    model = registry.options_model(kind, block.use)
    slot = slot_at(path)
    try:
        options = model.model_validate(block.options)
    except ValidationError as error:
        raise explain(
            error, model, block.options, recipe.where, prefix=path, owner=f"{kind} {block.use!r}",
            also=slot.own_keys if slot is not None else (),
        ) from None  # fmt: skip
    return {} if getattr(model, "derived_from_signature", False) else options.model_dump(mode="json")


def _check_abilities(recipe: Recipe, entries: dict[str, Entry | None]) -> None:
    """Partners that do not fit, of those that are registered: one given as an object is judged when it is built."""
    generator = entries.get("generator")
    if generator is not None:
        _check_start(recipe, generator)
        sampler = entries.get("sampling")
        if sampler is not None:
            _check_sampler(recipe, sampler, generator)
    objective = entries.get("objective")
    if objective is None:
        return
    partners = {role: entries.get(role) for role in ROLES}
    given = {role for role in ROLES if getattr(recipe, role) is not None and partners[role] is None}
    lacking = missing(registry, objective, recipe.objective.options, **partners)
    lacking = [(role, word) for role, word in lacking if role not in given]
    if lacking:
        place = recipe.where(("objective", "use")).place
        raise MissingAbility(f"{place}  {explain_missing(registry, objective, lacking, partners)}")


def _check_start(recipe: Recipe, generator: Entry) -> None:
    if recipe.generator.init == "teacher" and "renders" in generator.component.can:
        message = f"{generator.qualified!r} is a scene, and a teacher's network is no start for it. Use init: random"
        raise RecipeError(_located(recipe, ("generator", "init"), message))


def _check_sampler(recipe: Recipe, sampler: Entry, generator: Entry) -> None:
    lacking = sorted(sampler.component.can & {"cache", "frame_time"} - generator.component.can)
    if lacking:
        offer = [e.qualified for e in registry.components("generator") if set(lacking) <= e.component.can]
        message = (
            f"sampler {sampler.qualified!r} walks generators with {', '.join(lacking)}, which "
            f"{generator.qualified!r} has not. These have: {', '.join(offer) or 'none installed'}"
        )
        raise MissingAbility(_located(recipe, ("sampling", "use"), message))
