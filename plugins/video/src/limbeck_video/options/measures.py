"""Options of the video metrics. No torch here."""

from pydantic import Field

from limbeck.options import Options
from limbeck_video.options.data import FRAMES


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
