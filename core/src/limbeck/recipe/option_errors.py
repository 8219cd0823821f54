"""Pydantic's validation errors as `OptionError`: where, what was given, what is allowed, the nearest name."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from limbeck.errors import OptionError, did_you_mean
from limbeck.options import kinds_of
from limbeck.recipe.text import Origin, YamlPath, dotted

_NO_MEMBER = "union_tag_invalid"  # pydantic's word for a `kind` that no member of a union has


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions, by way of Optional, Annotated and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif not _is_container(annotation):
        for argument in get_args(annotation):
            yield from _models(argument)


def _is_container(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Collection)


def _elements(annotation: Any) -> Iterator[Any]:
    """What the containers of an annotation hold: the items of a list, the values of a mapping."""
    if _is_container(annotation):
        yield from (a for a in get_args(annotation) if a is not Ellipsis)
    else:
        for argument in get_args(annotation):
            yield from _elements(argument)


def _follow(loc: Sequence[Any], model: type[BaseModel], data: Any, absent: bool) -> tuple[YamlPath, list[Any]]:
    """The path of pydantic's location in the data, and the annotations that fit what lies there.

    A location has words that the data has not: the member of a union, `[key]` of a mapping. The last part may be
    `absent` from the data and still belong to the path: a required key.
    """
    path: list[str | int] = []
    annotations: list[Any] = [model]
    for i, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and 0 <= part < len(data)
        )
        if inside or (absent and i == len(loc) - 1 and isinstance(part, str)):
            path.append(part)
            data = data[part] if inside else None
            annotations = _annotations_below(annotations, part)
        else:
            members = [m for a in annotations for m in _models(a)]
            annotations = [m for m in members if _is_called(m, part)] or annotations
    return tuple(path), annotations


def _is_called(model: type[BaseModel], tag: Any) -> bool:
    """Whether pydantic means this member of a union: by its class, or by its `kind`."""
    return tag == model.__name__ or tag in kinds_of(model)


def _annotations_below(annotations: Sequence[Any], part: Any) -> list[Any]:
    models = [m for a in annotations for m in _models(a)]
    fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
    return fields or [element for a in annotations for element in _elements(a)]


def _allowed_at(annotations: Sequence[Any]) -> list[str]:
    """Keys of the models that the annotations mention."""
    return list(dict.fromkeys(key for a in annotations for m in _models(a) for key in m.model_fields))


def _paths_inside(annotations: Sequence[Any], above: tuple[type[BaseModel], ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of everything inside the blocks of the models that the annotations mention: `("critic", "updates")`."""
    for model in (m for a in annotations for m in _models(a) if m not in above):
        for name, field in model.model_fields.items():
            if _is_block(field.annotation):
                yield from ((name, key) for key in _allowed_at([field.annotation]))
                yield from ((name, *path) for path in _paths_inside([field.annotation], (*above, model)))


def _is_block(annotation: Any) -> bool:
    """A model, or one of several, and no number or text that could stand in its place."""
    if isinstance(annotation, type):
        return issubclass(annotation, BaseModel | NoneType)
    members = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return bool(members) and not _is_container(annotation) and all(map(_is_block, members))


def _in_blocks(key: str, annotations: Sequence[Any]) -> list[str]:
    """Where an option stands whose name was given without its block: `critic_updates` or `updates` is
    `critic.updates`."""
    paths = dict.fromkeys(_paths_inside(annotations))
    return [".".join(path) for path in paths if key in (path[-1], "_".join(path))]


def brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _message(item: Any, allowed: Sequence[str], owner: str, in_blocks: Sequence[str] = ()) -> str:
    kind, key = item["type"], str(item["loc"][-1]) if item["loc"] else ""
    if kind == "extra_forbidden":
        whose = f"{owner} has no option {key!r}" if owner else "unknown key"
        if 0 < len(in_blocks) <= 3:
            hint = f"Options stand in blocks: did you mean {' or '.join(map(repr, in_blocks))}? "
        else:
            hint = did_you_mean(key, allowed)
        return f"{whose}. {hint}Allowed: {', '.join(allowed) or 'none'}"
    if kind == "missing":
        return "is required"
    if kind in ("literal_error", "enum", _NO_MEMBER):
        given, expected = item["input"], item["ctx"].get("expected_tags") or item["ctx"]["expected"]
        given = item["ctx"]["tag"] if kind == _NO_MEMBER else given
        words = re.findall(r"'([^']*)'", expected)
        return f"got {brief(given)}. {did_you_mean(given, words)}Allowed: {', '.join(words)}"
    text = item["msg"]
    for start in ("Input should be ", "Value error, ", "Assertion failed, "):
        text = text.removeprefix(start)
    if kind in ("value_error", "assertion_error"):
        return f"{text} (got {brief(item['input'])})"
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return f"got {brief(item['input'])}; should be a mapping" + (f" with {', '.join(allowed)}" if allowed else "")
    return f"got {brief(item['input'])}; should be {text[0].lower() + text[1:] if text else 'something else'}"


def explain(
    error: ValidationError,
    model: type[BaseModel],
    data: Any,
    where: Callable[[YamlPath], Origin] | None = None,
    *,
    prefix: YamlPath = (),
    owner: str = "",
    also: Sequence[str] = (),
) -> OptionError:
    """One `OptionError` with every problem, each with its full path; the one of the first line stands first.

    Args:
        model, data: what refused, and what it was given.
        where: the origin of a path; the owner when None.
        prefix: the path of `data` in the recipe.
        owner: `objective 'dmd2'`, when the options are a component's.
        also: keys allowed beside the model's own.
    """
    origin_at = where or (lambda path: Origin(owner))
    problems: dict[YamlPath, list[str]] = {}
    unknown: dict[YamlPath, str] = {}  # and where an option of that name stands in a block; empty: nowhere
    for item in error.errors(include_url=False):
        absent = item["type"] == "missing"
        path, inside = _follow(item["loc"], model, data, absent)
        if item["type"] == "extra_forbidden":
            _, inside = _follow(item["loc"][:-1], model, data, absent)
        top = len(path) <= 1
        allowed = [*_allowed_at(inside), *(also if top else ())]
        in_blocks = _in_blocks(str(path[-1]), inside) if item["type"] == "extra_forbidden" else []
        message = _message(item, allowed, owner if top else "", in_blocks)
        if item["type"] == "extra_forbidden" and top:
            unknown[path] = " or ".join(in_blocks) if len(in_blocks) <= 3 else ""
        if item["type"] == _NO_MEMBER:
            path = (*path, item["ctx"]["discriminator"].strip("'"))
        found = problems.setdefault(path, [])
        if message not in found:
            found.append(message)
    if len(unknown) > 1 and any(unknown.values()):  # options of another form: one line for all of them
        first, *others = unknown
        moved = ", ".join(f"{new} for {path[-1]}" for path, new in unknown.items() if new)
        gone = ", ".join(str(path[-1]) for path, new in unknown.items() if not new)
        message = f"options of {owner or 'this block'} stand in blocks. Write {moved}"
        problems[first] = [message + (f"; there is no {gone}" if gone else "")]
        for path in others:
            del problems[path]
    texts = []
    for path, found in problems.items():
        shorter = [found[0], *(s.partition("; should be ")[2] or s for s in found[1:])]
        texts.append(((*prefix, *path), " or ".join(shorter)))
    texts.sort(key=lambda text: origin_at(text[0]).line or 0)
    (path, message), *rest = texts
    for other, text in rest:
        message += f"\n{origin_at(other).place}  {dotted(other)}: {text}"
    origin = origin_at(path)
    return OptionError(message, path=dotted(path), source=origin.source, line=origin.line)
