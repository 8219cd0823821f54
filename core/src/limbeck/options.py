"""Typed options. This module imports pydantic and no torch: options are checked before anything heavy loads."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from limbeck.errors import did_you_mean
from limbeck.manifest import Needs

# what limbeck.process.gaussian.process_named knows; that module imports torch
ProcessName = Literal["rectified_flow", "trigflow", "edm", "vp", "vp_cosine"]


class Options(BaseModel):
    """Base of every component's options: frozen, unknown keys refused. Fields carry their documentation as
    `Field(description=...)`, which `limbeck show` prints.

    A field may be a block, an `Options` of its own with a default. A mapping given for a block changes the keys that it
    names and leaves the others as in that default. Members of a union of blocks differ in their field `kind`; a mapping
    of another kind than the default's starts from the defaults of its own kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def needs(self) -> Needs:
        """Abilities that depend on these options, on top of the manifest's."""
        return Needs()

    @model_validator(mode="before")
    @classmethod
    def _blocks_keep_their_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        usual = {name: field.default for name, field in cls.model_fields.items()}
        return {key: _filled(usual.get(key), value) for key, value in given.items()}


def _filled(usual: Any, given: Any) -> Any:
    """What is given for a block, with the keys of the block's default that it does not name."""
    if not isinstance(usual, Options) or not isinstance(given, Mapping):
        return given
    kinds = kinds_of(type(usual))
    if len(kinds) == 1 and given.get("kind", kinds[0]) != kinds[0]:
        return given
    kept = {name: getattr(usual, name) for name in type(usual).model_fields}
    return kept | {key: _filled(kept.get(key), value) for key, value in given.items()}


def kinds_of(model: Any) -> tuple[Any, ...]:
    """The values of a block's field `kind`: one for a member of a union of blocks, none for a block without it."""
    field = getattr(model, "model_fields", {}).get("kind")
    return () if field is None else get_args(field.annotation)


Model = TypeVar("Model", bound=BaseModel)


def with_defaults(model: type[Model], defaults: Mapping[str, Any]) -> type[Model]:
    """The model with other defaults: its fields, descriptions, validators and name stay.

    Args:
        model: a pydantic model of options.
        defaults: option -> default; for a block a mapping of the keys that differ, as deep as it goes.

    Raises:
        ValueError: a name that the model does not have, with its full path, or a value that it refuses.
    """
    if not defaults:
        return model
    fields: dict[str, Any] = {}
    for name, value in defaults.items():
        field = model.model_fields.get(name)
        if field is None:
            raise ValueError(
                f"{model.__name__} has no option {name!r}, so it can have no default. "
                f"{did_you_mean(name, model.model_fields)}Allowed: {', '.join(model.model_fields)}"
            )
        plain = FieldInfo.merge_field_infos(field, default=..., default_factory=None)
        annotation: Any = Annotated[field.annotation, plain]
        try:
            default = TypeAdapter(annotation).validate_python(_filled(field.default, value))
        except ValidationError as error:
            raise ValueError(_problems(error, (name,))) from error
        fields[name] = (field.annotation, FieldInfo.merge_field_infos(field, default=default, default_factory=None))
    made: Any = create_model(
        model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields
    )
    try:
        made()
    except ValidationError as error:
        if any(item["type"] != "missing" for item in error.errors()):
            raise ValueError(_problems(error)) from error
    return made


def _problems(error: ValidationError, prefix: tuple[str, ...] = ()) -> str:
    """One line per problem but missing values: where, and what is wrong."""
    places = [(".".join(map(str, (*prefix, *item["loc"]))), item) for item in error.errors()]
    return "\n".join(
        f"{place}: no such option" if item["type"] == "extra_forbidden" else f"{place}: {item['msg']}"
        for place, item in places
        if item["type"] != "missing"
    )


def differences(model: type[BaseModel], base: type[BaseModel]) -> dict[str, Any]:
    """`path.of.option` -> default, for every default of a model that is another one in `base`."""
    theirs = {name: field.default for name, field in base.model_fields.items()}
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        found |= _apart(name, field.default, theirs.get(name))
    return found


def _apart(path: str, mine: Any, theirs: Any) -> dict[str, Any]:
    if mine == theirs:
        return {}
    if not isinstance(mine, Options):
        return {path: mine}
    found: dict[str, Any] = {}
    same = type(theirs) is type(mine)
    for name, field in type(mine).model_fields.items():
        found |= _apart(f"{path}.{name}", getattr(mine, name), getattr(theirs, name) if same else field.default)
    return found if same else {f"{path}.kind": getattr(mine, "kind", None), **found}


__all__ = ["Options", "ProcessName", "differences", "kinds_of", "with_defaults"]
