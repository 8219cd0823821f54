"""Options of the sources. Pydantic, no torch."""

from pydantic import Field

from limbeck.options import Options


class DataSourceOptions(Options):
    """Real examples, in an order that is a function of the step."""

    shuffle: bool = Field(True, description="a new permutation every epoch; otherwise the order of the data")


class PriorSourceOptions(Options):
    """Noise and conditions only."""


class _TeacherWalkOptions(Options):
    sampler: str = Field("heun", description="sampler of the teacher (a registry name)")
    steps: int = Field(18, ge=1, description="its steps")


class TrajectorySourceOptions(_TeacherWalkOptions):
    """States of teacher trajectories that start at noise."""


class PairsSourceOptions(_TeacherWalkOptions):
    """Pairs of noise and teacher sample, made once and kept in memory."""

    count: int = Field(4096, ge=1, description="number of pairs")
    chunk: int = Field(256, ge=1, description="pairs generated at a time")
    seed: int = Field(0, ge=0, description="seed of noise and conditions")


class StudentSourceOptions(Options):
    """Samples of the current student."""

    steps: int = Field(1, ge=1, description="calls of the student")


__all__ = [
    "DataSourceOptions",
    "PairsSourceOptions",
    "PriorSourceOptions",
    "StudentSourceOptions",
    "TrajectorySourceOptions",
]
