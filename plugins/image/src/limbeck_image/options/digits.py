"""Options of the image components. No torch here: the registry reads them before anything heavy loads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options

Width = Annotated[int, Field(ge=8, multiple_of=8)]


class DigitsDataOptions(Options):
    """Scikit-learn's handwritten digits."""

    split: Literal["train", "held_out"] = Field("train", description="rows that batches are drawn from")


class DigitsGeneratorOptions(Options):
    """A class-conditional U-Net on a process of your choice."""

    channels: tuple[Width, ...] = Field((32, 64), min_length=1, description="width of every level, finest first")
    blocks: int = Field(1, ge=1, description="residual blocks per level")
    patch: Literal[1, 2, 4] = Field(2, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((), description="levels that attend over all positions; 0 is the finest")
    embedding: int = Field(128, ge=8, description="width of the embedding of time and label")
    dropout: float = Field(0.0, ge=0, lt=1, description="in every block, while training")
    process: Literal["rectified_flow", "trigflow", "edm", "vp", "vp_cosine"] = Field(
        "rectified_flow", description="how data is corrupted"
    )
    shift: float = Field(1.0, gt=0, description="time shift of rectified flow")
    prediction: Literal["velocity", "v", "eps", "x0", "edm"] = Field(
        "velocity", description="what the network predicts"
    )
    two_times: bool = Field(False, description="accept a second time s, to learn a flow map")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stride = self.patch * 2 ** (len(self.channels) - 1)
        if 8 % stride:
            raise ValueError(
                f"8 pixels cannot be divided by {stride} (patch {self.patch}, {len(self.channels)} levels): "
                "use fewer channels or a smaller patch"
            )
        if bad := [level for level in self.attention if not 0 <= level < len(self.channels)]:
            raise ValueError(
                f"attention levels {bad} do not exist: {len(self.channels)} channels make levels 0 to "
                f"{len(self.channels) - 1}"
            )
        if self.shift != 1 and self.process != "rectified_flow":
            raise ValueError(f"shift belongs to rectified_flow; the process is {self.process}")
        return self


class DigitsTeacherOptions(Options):
    """The bundled digits teacher."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")


class PrecisionRecallOptions(Options):
    """Improved precision and recall."""

    k: int = Field(3, ge=1, le=20, description="nearest neighbours that span a ball around every point")


class NearestNeighbourOptions(Options):
    """Distance to the nearest training scan."""

    space: Literal["pixels", "features"] = Field("pixels", description="where distances are measured")
