"""Options of the metrics of scenes. No torch here."""

from pydantic import Field

from limbeck.options import Options


class SilhouetteOptions(Options):
    """Overlap of silhouettes."""

    views: int = Field(24, ge=1, le=1000, description="evenly spaced held-out views")


class ChamferOptions(Options):
    """Distance of surfaces."""

    points: int = Field(10_000, ge=10, le=1_000_000, description="points on either surface")


__all__ = ["ChamferOptions", "SilhouetteOptions"]
