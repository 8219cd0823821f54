"""A recipe being put together: mappings merge key by key, and a block whose `use` changes forgets the options of the
component it named before.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from limbeck.errors import RecipeError, did_you_mean
from limbeck.recipe.option_errors import explain
from limbeck.recipe.recipe import Recipe
from limbeck.recipe.schema import SLOTS, Schema, slot_at, value_at
from limbeck.recipe.text import Origin, Origins, YamlPath, origin_of, parse_override

OBJECT = "<object "  # how the `use` of a component begins that was given as a Python object


class Draft:
    """Plain data, the origin of every path, and the Python objects that stand in it."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origins: Origins = {}
        self.objects: dict[YamlPath, Any] = {}

    @classmethod
    def of(cls, recipe: Recipe) -> "Draft":
        """A recipe taken apart again."""
        draft = cls()
        draft.merge(recipe.to_dict(), recipe._origins, Origin("recipe"))
        draft.objects = recipe.objects()
        return draft

    def merge(self, data: Mapping[str, Any], origins: Origins, source: Origin) -> None:
        """Put `data` over what there is. Without `origins` all of it was written at `source`."""
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
        slot = slot_at(path)
        if slot is None or slot.many or path != slot.path or value is None:
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
        return {"use": f"{OBJECT}{type(component).__module__}.{type(component).__qualname__}>"}

    def _forget_options(self, base: dict[str, Any], new: Mapping, path: YamlPath) -> None:
        if "use" not in new or "use" not in base or new["use"] == base["use"]:
            return
        slot = slot_at(path)
        kept = slot.own_keys if slot is not None else ()
        for key in [k for k in base if k not in kept]:
            self._drop((*path, key))
            del base[key]
        if not str(new["use"]).startswith(OBJECT):
            self.objects.pop(path, None)

    def _drop(self, path: YamlPath) -> None:
        for p in [p for p in self.origins if p[: len(path)] == path]:
            del self.origins[p]

    def override(self, overrides: Iterable[str]) -> None:
        """`path=value` texts, those that choose a component first."""
        choosing = ("use", *(slot.path[-1] for slot in SLOTS if not slot.many))
        for text in sorted(overrides, key=lambda text: not text.partition("=")[0].strip().endswith(choosing)):
            keys, value = parse_override(text)
            shortcuts = self.data.get("shortcuts") or {}
            if shortcuts and keys[0] not in (*shortcuts, *Schema.model_fields):
                known = (*shortcuts, *Schema.model_fields)
                raise RecipeError(
                    f"override {text!r}: unknown key '{keys[0]}'. {did_you_mean(keys[0], known)}"
                    f"Short names of this recipe: {', '.join(shortcuts)}; sections: {', '.join(Schema.model_fields)}"
                )
            self.merge(nested(_full_path(keys, shortcuts), value), {}, Origin(f"override {text!r}"))

    def recipe(self) -> Recipe:
        """The typed recipe. Raises OptionError for keys and values that no recipe has."""
        self._set_aside_listed()
        try:
            made = Recipe.model_validate(self.data)
        except ValidationError as error:
            raise explain(error, Recipe, self.data, lambda path: origin_of(self.origins, path)) from None
        except RecursionError:
            raise RecipeError("nested too deeply to be a recipe") from None
        made._origins.update(self.origins)
        for path, _, block in made.blocks():
            if path in self.objects:
                block._object = self.objects[path]
        return made

    def _set_aside_listed(self) -> None:
        """Components given as objects in lists: metrics, callbacks, exporters."""
        for slot in SLOTS:
            holder = value_at(self.data, slot.path[:-1])
            items = value_at(self.data, slot.path)
            if slot.many and isinstance(items, list | tuple):
                holder[slot.path[-1]] = [
                    self._placeholder((*slot.path, i), item) if _is_component(item) else item
                    for i, item in enumerate(items)
                ]


def nested(keys: Iterable[str], value: Any) -> Any:
    """('train', 'steps'), 300 -> {'train': {'steps': 300}}."""
    for key in reversed(list(keys)):
        value = {key: value}
    return value


def _full_path(keys: tuple[str, ...], shortcuts: Any) -> tuple[str, ...]:
    """An override's path, a recipe's shortcut at its head replaced by what it stands for."""
    if not isinstance(shortcuts, Mapping) or keys[0] not in shortcuts:
        return keys
    return (*str(shortcuts[keys[0]]).split("."), *keys[1:])


def _is_component(value: Any) -> bool:
    return value is not None and not isinstance(value, str | bytes | int | float | list | tuple | set | Mapping)
