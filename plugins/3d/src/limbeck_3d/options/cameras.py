"""Options of cameras. No torch here."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from limbeck.options import Options

Degrees = Annotated[float, Field(ge=-180, le=180)]
Distance = Annotated[float, Field(gt=1, le=100)]


class CameraOptions(Options):
    """Where random cameras stand: all around, looking at the middle."""

    elevation: tuple[Degrees, Degrees] = Field((-20.0, 60.0), description="lowest and highest, in degrees")
    distance: tuple[Distance, Distance] = Field((2.8, 3.4), description="nearest and farthest")
    fov: tuple[Degrees, Degrees] = Field((40.0, 40.0), description="vertical field of view, in degrees")
    view_words: bool = Field(True, description="add 'front view', 'side view', ... to the prompt, by the camera")

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


__all__ = ["CameraOptions"]
