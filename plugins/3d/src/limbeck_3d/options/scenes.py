"""Options of the scenes. No torch here: the registry reads them before anything heavy loads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options
from limbeck.scheduled import Scheduled, bounds

Unit = Annotated[float, Field(ge=-1, le=1)]
Weight = Annotated[Scheduled, Field(description="weight of a regulariser; a number, or a ramp over steps")]


class SceneOptions(Options):
    """What every scene has."""

    size: int = Field(32, ge=4, le=1024, description="pixels per side of a render")
    particles: int = Field(
        1, ge=1, le=64, description="independent scenes; a view shows one (condition `particle`, else by turns)"
    )
    background: Unit = Field(1.0, description="grey level behind the scene when conditions bring no background")


class ImageSceneOptions(SceneOptions):
    """An image as the scene: what is seen does not depend on the camera."""

    channels: int = Field(3, ge=1, description="3 for RGB; more for latents")
    std: float = Field(0.1, ge=0, description="standard deviation of the pixels at the start")
    bounded: bool = Field(False, description="pixels are tanh of the parameter, so that they stay in [-1, 1]")


class Regularised(SceneOptions):
    """Weights of regularisers: each multiplies a number of order one, a mean over pixels or cells."""

    opacity: Weight = Field(0.0, description="mean alpha of a view: kills floaters that hide in the background")
    entropy: Weight = Field(0.0, description="binary entropy of alpha: pixels become opaque or empty")
    color_lr: float = Field(1.0, gt=0, description="factor on the learning rate of colours")
    color_std: float = Field(0.0, ge=0, description="standard deviation of the colours' parameters at the start")

    @model_validator(mode="after")
    def _weights_are_not_negative(self) -> Self:
        for name, field in type(self).model_fields.items():
            if field.annotation == Scheduled and name not in ("resolution",) and bounds(getattr(self, name))[0] < 0:
                raise ValueError(f"{name} is the weight of a regulariser and cannot be negative; 0 leaves it out")
        return self


class VoxelOptions(Regularised):
    """A grid of densities and colours in the cube [-1, 1]^3, seen by volume rendering."""

    grid: int = Field(32, ge=4, le=512, description="cells per side")
    samples: int = Field(48, ge=4, le=1024, description="samples on the piece of a ray inside the bounds")
    bounds: Literal["cube", "ball"] = Field(
        "cube", description="what is seen of the grid: all, or the ball of radius 1, where 28 samples do for 48"
    )
    resolution: Scheduled | None = Field(
        None, description="cells per side that are resolved, coarse to fine over steps; null: all of the grid"
    )
    blob_radius: float = Field(0.5, gt=0, le=1.5, description="radius of the soft ball at the start")
    blob_density: float = Field(10.0, gt=0, description="density in its centre, per unit of length")
    density_scale: float = Field(
        10.0, gt=0, description="density = scale * softplus(parameter): how fast matter appears"
    )
    density_lr: float = Field(1.0, gt=0, description="factor on the learning rate of densities")
    tv_density: Weight = Field(0.0, description="total variation of the cells' opacity")
    tv_color: Weight = Field(0.0, description="total variation of colours")
    sparsity: Weight = Field(0.0, description="Cauchy prior on density: no fog")
    distortion: Weight = Field(0.0, description="matter along a ray lies in one place (mip-NeRF 360)")
    border: Weight = Field(0.0, description="opacity of the cells on the cube's faces")

    @model_validator(mode="after")
    def _resolution_fits_the_grid(self) -> Self:
        if self.resolution is not None:
            low, high = bounds(self.resolution)
            if low < 2 or high > self.grid:
                raise ValueError(
                    f"resolution runs from {low:g} to {high:g}; it counts cells per side, so it must stay between 2 "
                    f"and grid: {self.grid}"
                )
        return self


class SplatOptions(Regularised):
    """Gaussians in space, seen by splatting."""

    count: int = Field(512, ge=1, le=200_000, description="how many Gaussians")
    backend: Literal["torch", "gsplat"] = Field(
        "torch", description="torch: every Gaussian on every pixel, any device; gsplat: CUDA and its compiler"
    )
    blob_radius: float = Field(0.5, gt=0, le=1.5, description="radius of the ball that they fill at the start")
    start_scale: float = Field(0.08, gt=0, description="their standard deviation at the start")
    start_opacity: float = Field(0.1, gt=0, lt=1, description="their opacity at the start")
    spherical_harmonics: bool = Field(
        False, description="colours as degree-0 coefficients of spherical harmonics (not clipped), else RGB in (0, 1)"
    )
    skip_below: float = Field(0.0, ge=0, lt=1, description="opacity in a pixel under which it is left out; 3DGS: 1/255")
    position_lr: float = Field(1.0, gt=0, description="factor on the learning rate of positions")
    shape_lr: float = Field(1.0, gt=0, description="factor on the learning rates of scales and rotations")
    opacity_lr: float = Field(1.0, gt=0, description="factor on the learning rate of opacities")
    size_prior: Weight = Field(0.0, description="mean squared standard deviation, in units of the start's")
    inside: Weight = Field(0.0, description="squared distance of centres outside the cube")


__all__ = ["ImageSceneOptions", "Regularised", "SceneOptions", "SplatOptions", "VoxelOptions"]
