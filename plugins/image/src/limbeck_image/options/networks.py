"""Options of networks. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal

from pydantic import Field

from limbeck_diffusion.networks.options import UNetDenoiserOptions


class DigitsGeneratorOptions(UNetDenoiserOptions):
    """A class-conditional U-Net on a process of your choice."""

    patch: Literal[1, 2, 4] = Field(2, description="side of the patches that the first layer folds into channels")

    @property
    def side(self) -> int:
        return 8
