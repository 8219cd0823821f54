"""Options of the image components. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options
from limbeck_diffusion.networks.options import UNetDenoiserOptions


class DigitsDataOptions(Options):
    """Scikit-learn's handwritten digits."""

    split: Literal["train", "held_out"] = Field("train", description="rows that batches are drawn from")


class DigitsGeneratorOptions(UNetDenoiserOptions):
    """A class-conditional U-Net on a process of your choice."""

    patch: Literal[1, 2, 4] = Field(2, description="side of the patches that the first layer folds into channels")

    @property
    def side(self) -> int:
        return 8


class DigitsTeacherOptions(Options):
    """The bundled digits teacher."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")


class PrecisionRecallOptions(Options):
    """Improved precision and recall."""

    k: int = Field(3, ge=1, le=20, description="nearest neighbours that span a ball around every point")


class NearestNeighbourOptions(Options):
    """Distance to the nearest training scan."""

    space: Literal["pixels", "features"] = Field("pixels", description="where distances are measured")
