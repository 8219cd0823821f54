"""Options of the exporters of videos. No torch here."""

from pydantic import Field

from limbeck.options import Options


class VideoOptions(Options):
    """Clips of a student as video files."""

    count: int = Field(8, ge=1, le=1000, description="clips")
    frames: int | None = Field(
        None, ge=1, le=100_000, description="frames of a clip, with a streaming sampler; null: as trained"
    )
    fps: float = Field(10.0, gt=0, le=240, description="frames per second")
    size: int = Field(160, ge=1, le=4096, description="pixels that the shorter side is enlarged to, by whole factors")
    seed: int = Field(0, ge=0, description="which clips")
    overwrite: bool = Field(False, description="replace files of an earlier export in the folder")
