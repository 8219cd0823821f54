"""Options of the network of views and of its bundled teacher. No torch here."""

from typing import Literal

from pydantic import Field

from limbeck_diffusion.networks.options import UNetOptions, Width


class ViewsGeneratorOptions(UNetOptions):
    """A U-Net for views, conditioned on a prompt, a camera and the colour of the background."""

    size: Literal[16, 32, 64] = Field(32, description="pixels per side")
    channels: tuple[Width, ...] = Field((48, 96, 128), min_length=1, description="width of every level, finest first")
    patch: Literal[1, 2, 4] = Field(2, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((1, 2), description="levels that attend over all positions; 0 is the finest")
    embedding: int = Field(160, ge=8, description="width of the embedding of time and conditions")
    words: int = Field(48, ge=4, description="width of a word")
    process: Literal["rectified_flow", "vp_cosine"] = Field("rectified_flow", description="how data is corrupted")
    prediction: Literal["velocity", "v", "eps", "x0"] = Field("velocity", description="what the network predicts")

    @property
    def side(self) -> int:
        return self.size


__all__ = ["ViewsGeneratorOptions"]
