"""Options of the closed-form teacher of views. No torch here."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class OracleOptions(Options):
    """A Gaussian per view, around the true render."""

    mesh: str = Field(
        "", description="a mesh file (OBJ, PLY, GLB, STL), scaled to radius 0.8; empty: what the prompt describes"
    )
    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    std: float = Field(0.3, gt=0, description="v, standard deviation of every pixel; positive, or ism has no gradient")
    process: Literal["rectified_flow", "vp_cosine"] = Field("rectified_flow", description="how renders are corrupted")
    critic_channels: tuple[int, ...] = Field(
        (16, 32), min_length=1, description="widths of the network that a copy (a critic) adds to the closed form"
    )


__all__ = ["OracleOptions"]
