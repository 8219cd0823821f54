"""Typed options. This module imports pydantic and no torch: options are checked before anything heavy loads."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

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
