"""Options of the 3D data, teacher, source and metrics (`scene_options` has those of scenes). No torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from limbeck.options import Options
from limbeck_3d.data.words import words_of
from limbeck_diffusion.networks.options import UNetOptions, Width

Degrees = Annotated[float, Field(ge=-180, le=180)]
Distance = Annotated[float, Field(gt=1, le=100)]


class CameraOptions(Options):
    """Where random cameras stand: all around, looking at the middle."""

    elevation: tuple[Degrees, Degrees] = Field((-20.0, 60.0), description="lowest and highest, in degrees")
    distance: tuple[Distance, Distance] = Field((2.8, 3.4), description="nearest and farthest")
    fov: tuple[Degrees, Degrees] = Field((40.0, 40.0), description="vertical field of view, in degrees")
    view_words: bool = Field(True, description="say 'front view', 'side view', ... in the prompt, by the camera")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("elevation", "distance", "fov"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is [low, high]; got [{low:g}, {high:g}]")
        if self.elevation[0] <= -90 or self.elevation[1] >= 90:
            raise ValueError(f"elevation lies between -90 and 90 degrees; got {list(self.elevation)}")
        if self.fov[0] <= 1 or self.fov[1] >= 150:
            raise ValueError(f"fov lies between 1 and 150 degrees; got {list(self.fov)}")
        return self


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
        description="any text, told to a teacher that reads prompts (image/diffusers) instead of `prompt`, which then "
        "means nothing; views are added to it",
    )
    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    split: Literal["train", "held_out"] = Field("train", description="which cameras")

    @field_validator("prompt", mode="before")
    @classmethod
    def _can_be_read(cls, value: Any) -> Any:
        words_of(value := "" if value is None else value)
        return value


class ViewsGeneratorOptions(UNetOptions):
    """A U-Net for views, conditioned on a prompt, a camera and the colour of the background."""

    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    channels: tuple[Width, ...] = Field((48, 96, 128), min_length=1, description="width of every level, finest first")
    patch: Literal[1, 2, 4] = Field(2, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((1, 2), description="levels that attend over all positions; 0 is the finest")
    embedding: int = Field(160, ge=8, description="width of the embedding of time and conditions")
    words: int = Field(48, ge=4, description="width of a word")
    process: Literal["rectified_flow", "vp_cosine"] = Field("rectified_flow", description="how data is corrupted")
    prediction: Literal["velocity", "v", "eps", "x0"] = Field("velocity", description="what the network predicts")

    @property
    def side(self) -> int:
        return self.size


class ViewsTeacherOptions(Options):
    """The bundled teacher of views."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")


class SilhouetteOptions(Options):
    """Overlap of silhouettes."""

    views: int = Field(24, ge=1, le=1000, description="evenly spaced held-out views")


class ChamferOptions(Options):
    """Distance of surfaces."""

    points: int = Field(10_000, ge=10, le=1_000_000, description="points on either surface")
