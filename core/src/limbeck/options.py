"""Typed options. This module imports pydantic and no torch: options are checked before anything heavy loads."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from limbeck.manifest import Needs


class Options(BaseModel):
    """Base of every component's options: frozen, unknown keys refused. Fields carry their documentation as
    `Field(description=...)`, which `limbeck show` prints. `retired` names options that there once were, and says what
    became of each: `{"old_name": "since 0.3 it is always on"}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    retired: ClassVar[Mapping[str, str]] = {}

    def needs(self) -> Needs:
        """Abilities that depend on these options, on top of the manifest's."""
        return Needs()


def with_defaults(model: type[BaseModel], defaults: Mapping[str, Any]) -> type[BaseModel]:
    """`model` with other defaults, nested blocks included; descriptions, checks and everything else stay.

    Raises:
        ValueError: a name in `defaults` that is no option.
    """
    if not defaults:
        return model
    fields: dict[str, Any] = {}
    for name, value in defaults.items():
        if name not in model.model_fields:
            raise ValueError(
                f"{model.__name__} has no option {name!r}, so it can have no default. "
                f"Allowed: {', '.join(model.model_fields)}"
            )
        known = model.model_fields[name]
        kind: Any = known.annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = with_defaults(kind, value)
            value = kind()
        fields[name] = (kind, FieldInfo.merge_field_infos(known, default=value))
    changed: Any = create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
    changed.__doc__ = model.__doc__
    return changed
