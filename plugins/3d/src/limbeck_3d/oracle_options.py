"""Options of the closed-form teacher of views. No torch here."""

from typing import Literal

from pydantic import Field

from limbeck.options import Options


class OracleOptions(Options):
    """A Gaussian per view, around the true render."""

    prompt: str = Field("a red torus", description="which mesh: COLOUR SHAPE, or COLOUR SHAPE on COLOUR BASE")
    mesh: str = Field("", description="a mesh file instead (OBJ, PLY, GLB, STL): it is centred and scaled to radius 0.8")
    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    std: float = Field(0.3, gt=0, description="v, standard deviation of every pixel; positive, or ISM sees nothing")
    null: Literal["background", "average"] = Field(
        "background", description="mean without a prompt: the empty background, or the average of renders all around"
    )
    process: Literal["rectified_flow", "vp_cosine"] = Field("rectified_flow", description="how renders are corrupted")
    critic_channels: tuple[int, ...] = Field(
        (16, 32), min_length=1, description="widths of the network that a copy adds to the closed form (vsd's critic)"
    )


__all__ = ["OracleOptions"]
