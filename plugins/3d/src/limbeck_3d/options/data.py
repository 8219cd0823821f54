"""Options of the data of solids and prompts. No torch here."""

from typing import Any, Literal

from pydantic import Field, field_validator

from limbeck_3d.options.cameras import CameraOptions
from limbeck_3d.prompts.words import words_of


class SolidsOptions(CameraOptions):
    """Renders of captioned solids and their combinations, in every colour."""

    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    views: int = Field(400, ge=2, le=100_000, description="renders of every shape; of a pair of shapes, half as many")
    split: Literal["train", "held_out"] = Field("train", description="training views, or new views of unseen prompts")
    meshes: bool = Field(False, description="also pyvista's airplane, ant and nut: pip install 'limbeck-3d[meshes]'")


class PromptOptions(CameraOptions):
    """One prompt, seen from everywhere."""

    prompt: str = Field("a red torus", description="what to make")
    caption: str = Field(
        "",
        description="any text, for a teacher with a text encoder (image/diffusers), instead of `prompt`, which is then "
        "ignored; views are added to it",
    )
    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    split: Literal["train", "held_out"] = Field("train", description="which cameras")

    @field_validator("prompt", mode="before")
    @classmethod
    def _can_be_read(cls, value: Any) -> Any:
        words_of(value := "" if value is None else value)
        return value


__all__ = ["PromptOptions", "SolidsOptions"]
