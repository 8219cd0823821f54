"""Options of the callbacks of runs on scenes. No torch here."""

from pydantic import Field

from limbeck.options import Options


class CollapseOptions(Options):
    """When to look whether the field is empty or full."""

    every: int = Field(100, ge=1, description="steps between two looks (each takes a fraction of a second)")
    after: int = Field(100, ge=0, description="first step to look: a scene may start as fog")
    stop: bool = Field(False, description="end the run instead of warning")


__all__ = ["CollapseOptions"]
