"""Typed options. This module imports pydantic and no torch: options are checked before anything heavy loads."""

from pydantic import BaseModel, ConfigDict

from limbeck.manifest import Needs


class Options(BaseModel):
    """Base of every component's options: frozen, unknown keys refused. Fields carry their documentation as
    `Field(description=...)`, which `limbeck show` prints."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def needs(self) -> Needs:
        """Abilities that depend on these options, on top of the manifest's."""
        return Needs()
