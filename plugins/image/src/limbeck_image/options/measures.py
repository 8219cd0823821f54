"""Options of metrics. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class PrecisionRecallOptions(Options):
    """Improved precision and recall."""

    k: int = Field(3, ge=1, le=20, description="nearest neighbours that span a ball around every point")


class NearestNeighbourOptions(Options):
    """Distance to the nearest training scan."""

    space: Literal["pixels", "features"] = Field("pixels", description="where distances are measured")
