"""Options of the video data, metrics and exporters. No torch here: the registry reads them before anything heavy
loads."""

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


class FrechetOptions(Options):
    """Distance of frames or of motion to real clips."""

    clips: int = Field(1000, ge=10, le=100_000, description="real training clips to compare with")


class TrajectoryOptions(Options):
    """Distance of what is seen to the best path of a bouncing body."""

    clips: int = Field(250, ge=1, le=100_000, description="clips that are fitted, the first ones")


class RolloutOptions(Options):
    """A long rollout, longer than any clip trained on."""

    frames: int = Field(5 * FRAMES, ge=2, le=100_000, description="frames of a rollout")
    window: int = Field(FRAMES, ge=2, description="frames that are measured together")
    clips: int = Field(128, ge=2, le=10_000, description="rollouts, side by side")


class SpeedOptions(Options):
    """Speed of a sampler, one clip at a time."""

    frames: int = Field(2 * FRAMES, ge=1, le=100_000, description="frames that a streaming sampler is timed over")
    repeats: int = Field(3, ge=1, le=100, description="clips that are timed, after one to warm up; the median counts")


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


class FilmOptions(Options):
    """Clips of a student as films."""

    count: int = Field(8, ge=1, le=1000, description="clips")
    frames: int | None = Field(
        None, ge=1, le=100_000, description="frames of a clip, with a streaming sampler; null: as trained"
    )
    fps: float = Field(10.0, gt=0, le=240, description="frames per second")
    size: int = Field(160, ge=1, le=4096, description="pixels that the shorter side is enlarged to, by whole factors")
    seed: int = Field(0, ge=0, description="which clips")
    overwrite: bool = Field(False, description="replace files of an earlier export in the folder")
