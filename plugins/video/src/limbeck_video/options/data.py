"""Options of the video data. No torch here: the registry reads them before anything heavy loads."""

from typing import Annotated, Literal

from pydantic import Field

from limbeck.options import Options

FRAMES = 12  # of a training clip
Side = Annotated[int, Field(ge=1, le=4096)]


class MovingDigitsOptions(Options):
    """Two scanned digits per clip, bouncing off the walls."""

    split: Literal["train", "held_out"] = Field("train", description="scans, speeds and starts to draw from")
    frames: int = Field(FRAMES, ge=1, le=10_000, description="frames of a clip")
    clips: int = Field(20_000, ge=1, le=10**9, description="training clips; the first ones are the same at any number")


class VideoFolderOptions(Options):
    """Any folder of videos, cut into clips."""

    path: str = Field(description="the folder; folders within are searched too")
    frames: int = Field(FRAMES, ge=1, le=10_000, description="frames of a clip")
    size: tuple[Side, Side] = Field((64, 64), description="height and width: the middle is cut out, then resized")
    colour: Literal["rgb", "grey"] = Field("rgb", description="channels of a frame: three or one")
    stride: int = Field(1, ge=1, le=1000, description="take every so many-th frame")
    fps: float | None = Field(
        None, gt=0, le=1000, description="frames per second to resample to, by their times; null: as the file has them"
    )
    held_out: float = Field(
        0.1, ge=0, lt=1, description="share of the files that is held out, by a hash of their content"
    )
    strict: bool = Field(False, description="stop at the first file that cannot be used, instead of leaving it out")
    split: Literal["train", "held_out"] = Field("train", description="files to take clips from")
