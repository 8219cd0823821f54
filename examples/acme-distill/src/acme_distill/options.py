"""Options, checked before torch is imported."""

from pydantic import Field

from limbeck import Options


class EnergyDistanceOptions(Options):
    teacher_steps: int = Field(8, ge=1, description="DDIM steps that draw the teacher's samples")
    draws: int = Field(4, ge=2, description="samples of each model per row, compared with each other")


class RingOptions(Options):
    modes: int = Field(6, ge=1, description="Gaussians on the circle")
    radius: float = Field(1.0, gt=0, description="of the circle")
    std: float = Field(0.2, gt=0, description="standard deviation of one Gaussian")


class PlanarOptions(Options):
    width: int = Field(64, ge=1, description="hidden units per layer")
