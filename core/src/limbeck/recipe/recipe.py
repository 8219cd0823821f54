"""A resolved recipe: everything a run needs, as typed values that do not change."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

from pydantic import PrivateAttr

from limbeck.recipe.schema import SLOTS, Block, Schema
from limbeck.recipe.text import Origin, Origins, YamlPath, dotted, dump, origin_of


class Recipe(Schema):
    """Typed, frozen, every default filled in. Equal in content is equal; where it was written does not count."""

    _origins: Origins = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Objects are equal when they are the same."""
        if not isinstance(other, Recipe):
            return NotImplemented
        mine, theirs = ([b.object for _, _, b in recipe.blocks()] for recipe in (self, other))
        return self.to_dict() == other.to_dict() and all(a is b for a, b in zip(mine, theirs, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def blocks(self) -> Iterator[tuple[YamlPath, str, Block]]:
        """(path, kind of component, block) of everything that names a component."""
        for slot in SLOTS:
            found: Any = reduce(getattr, slot.path, self)
            if slot.many:
                for i, block in enumerate(found):
                    yield (*slot.path, i), slot.kind, block
            elif found is not None:
                yield slot.path, slot.kind, found

    def objects(self) -> dict[YamlPath, Any]:
        """Components that were given as Python objects, by path."""
        return {path: block.object for path, _, block in self.blocks() if block.object is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `load` turns back into an equal recipe. A component given as object leaves a placeholder."""
        data = self.model_dump(mode="json")
        for slot in SLOTS:
            if slot.many:
                holder = reduce(dict.__getitem__, slot.path[:-1], data)
                blocks = holder[slot.path[-1]]
                holder[slot.path[-1]] = [block["use"] if set(block) == {"use"} else block for block in blocks]
        if data["train"]["phases"]:
            phases = data["train"]["phases"].items()
            data["train"]["phases"] = {n: {k: v for k, v in p.items() if v is not None} for n, p in phases}
        return {k: v for k, v in data.items() if v is not None}

    def to_yaml(self) -> str:
        objects = ", ".join(map(dotted, self.objects()))
        note = f"# given as Python objects, pass them again: {objects}\n" if objects else ""
        return note + dump(self.to_dict())

    def where(self, path: YamlPath) -> Origin:
        """The file and line that set `path`, or the nearest thing above it."""
        return origin_of(self._origins, path)
