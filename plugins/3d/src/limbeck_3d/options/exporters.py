"""Options of exporters of scenes. No torch here."""

from typing import Annotated

from pydantic import Field

from limbeck.options import Options

Unit = Annotated[float, Field(ge=-1, le=1)]


class _Export(Options):
    overwrite: bool = Field(False, description="replace files of an earlier export in the folder")
    particle: int = Field(0, ge=0, description="which of the scene's particles")


class MeshExportOptions(_Export):
    """A mesh from the field's surface."""

    cells: int | None = Field(None, ge=4, le=512, description="cells per side of the field; null: the scene's own")
    threshold: float | None = Field(
        None, gt=0, description="density of the surface; null: the one that shows what renders show"
    )
    floaters: float = Field(
        0.01,
        ge=0,
        le=1,
        description="pieces under this share of the largest one's volume are left out; 0 keeps all",
    )


class SplatExportOptions(_Export):
    """Gaussians as a 3DGS PLY."""


class TurntableOptions(_Export):
    """A turn around the scene."""

    views: int = Field(36, ge=2, le=360, description="frames of a whole turn")
    size: int = Field(192, ge=16, le=1024, description="pixels per side of the picture")
    render_size: int = Field(96, ge=16, le=1024, description="pixels per side that are rendered, then enlarged")
    elevation: float = Field(20.0, gt=-90, lt=90, description="of the camera, in degrees")
    distance: float = Field(3.1, gt=1, description="of the camera, in units of the scene")
    fov: float = Field(40.0, gt=1, lt=150, description="vertical field of view, in degrees")
    background: Unit = Field(1.0, description="grey level behind the scene")


__all__ = ["MeshExportOptions", "SplatExportOptions", "TurntableOptions"]
