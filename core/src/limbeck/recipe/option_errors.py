"""Pydantic's validation errors as `OptionError`: where, what was given, what is allowed, the nearest name."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from limbeck.errors import OptionError, did_you_mean
from limbeck.options import kinds_of
from limbeck.recipe.text import Origin, YamlPath, dotted


def _model_at(model: type[BaseModel], path: YamlPath, loc: Sequence[Any] = ()) -> type[BaseModel] | None:
    """The model that checks the mapping at `path`, by way of Optional, tuple and Mapping annotations. Where several
    kinds of a block could, pydantic's location `loc` names the one that did."""
    annotation: Any = model
    for part in path:
        found, inside_container = _inner(annotation, loc)
        if found is None:
            return None
        if inside_container:  # `part` is an index or a free key
            annotation = found
        elif isinstance(part, str) and part in found.model_fields:
            annotation = found.model_fields[part].annotation
        else:
            return None
    found, inside_container = _inner(annotation, loc)
    return None if inside_container else found


def _inner(annotation: Any, loc: Sequence[Any] = ()) -> tuple[type[BaseModel] | None, bool]:
    """The model that an annotation mentions, and whether it is that of the elements of a container. Of several, the one
    whose `kind` stands in `loc`, or the first."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    first: tuple[type[BaseModel] | None, bool] = None, False
    for argument in get_args(annotation):
        found, deeper = _inner(argument, loc)
        if found is None:
            continue
        origin = get_origin(annotation)
        here = found, deeper or (isinstance(origin, type) and issubclass(origin, Collection))
        if set(kinds_of(found)) & {part for part in loc if isinstance(part, str)}:
            return here
        first = here if first[0] is None else first
    return first


def _place(loc: Sequence[Any], data: Any, last_may_be_absent: bool) -> YamlPath:
    """The part of pydantic's location that is really in the data: unions and keys add words of their own."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and 0 <= part < len(data)
        ):
            path.append(part)
            data = data[part]
        elif last_may_be_absent and i == len(loc) - 1 and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _message(item: Any, allowed: Sequence[str], owner: str, retired: Mapping[str, str]) -> str:
    kind, key = item["type"], str(item["loc"][-1]) if item["loc"] else ""
    if kind == "extra_forbidden" and key in retired:
        return f"{owner or 'this'} has no option {key!r} any more: {retired[key]}"
    if kind == "extra_forbidden":
        whose = f"{owner} has no option {key!r}" if owner else "unknown key"
        return f"{whose}. {did_you_mean(key, allowed)}Allowed: {', '.join(allowed) or 'none'}"
    if kind == "missing":
        return "is required"
    if kind in ("literal_error", "enum"):
        words = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        return f"got {_brief(item['input'])}. {did_you_mean(item['input'], words)}Allowed: {', '.join(words)}"
    said = item["msg"]
    for start in ("Input should be ", "Value error, ", "Assertion failed, "):
        said = said.removeprefix(start)
    if kind in ("value_error", "assertion_error"):
        return f"{said} (got {_brief(item['input'])})"
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return f"got {_brief(item['input'])}; should be a mapping" + (f" with {', '.join(allowed)}" if allowed else "")
    return f"got {_brief(item['input'])}; should be {said[0].lower() + said[1:] if said else 'something else'}"


def explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    where: Callable[[YamlPath], Origin],
    *,
    prefix: YamlPath = (),
    owner: str = "",
    also: Sequence[str] = (),
) -> OptionError:
    """One `OptionError` that tells every problem, the first with its line first.

    Args:
        model, data: what was asked of what.
        where: the origin of a path.
        prefix: the path of `data` in the recipe.
        owner: `objective 'dmd2'`, when the options are a component's.
        also: keys allowed beside the model's own.
    """
    problems: dict[YamlPath, list[str]] = {}
    for item in error.errors(include_url=False):
        path = _place(item["loc"], data, item["type"] == "missing")
        inside = _model_at(model, path[:-1] if item["type"] == "extra_forbidden" else path, item["loc"])
        allowed = [*(inside.model_fields if inside else ()), *(also if len(path) <= 1 else ())]
        message = _message(item, allowed, owner if len(path) <= 1 else "", getattr(inside, "retired", {}))
        said = problems.setdefault(path, [])
        if message not in said:
            said.append(message)
    texts = []
    for path, said in problems.items():
        shorter = [said[0], *(s.partition("; should be ")[2] or s for s in said[1:])]
        texts.append(((*prefix, *path), " or ".join(shorter)))
    texts.sort(key=lambda text: where(text[0]).line or 0)
    (path, message), *rest = texts
    for other, text in rest:
        origin = where(other)
        place = f"{origin.source}:{origin.line}" if origin.line else origin.source
        message += f"\n{place}  {dotted(other)}: {text}"
    origin = where(path)
    return OptionError(message, path=dotted(path), source=origin.source, line=origin.line)
