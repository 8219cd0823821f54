"""Options of networks. No torch here: the registry reads them before anything heavy loads."""

from typing import Literal, Self

from pydantic import Field, model_validator

from limbeck_diffusion.networks.options import UNetDenoiserOptions, Width

DIGITS = 10
SIDE = 64  # mel bands, and frames, of one event


class MelGeneratorOptions(UNetDenoiserOptions):
    """A U-Net over mel spectrograms, conditioned on the word, on a process of your choice."""

    side_unit = "mel bands"

    channels: tuple[Width, ...] = Field((64, 128), min_length=1, description="width of every level, finest first")
    patch: Literal[1, 2, 4, 8] = Field(4, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((1,), description="levels that attend over all positions; 0 is the finest")
    prediction: Literal["velocity", "v", "eps", "x0", "edm"] = Field(
        "edm", description="what the network predicts; edm: the same weights mean the same on every process"
    )
    words: int = Field(DIGITS, ge=1, description="number of words; the label of that number means no word")
    prior_mean: bool = Field(
        False, description="noise around the mean spectrogram of the digit (CoMoSpeech), as its network sees it"
    )

    @property
    def side(self) -> int:
        return SIDE

    @model_validator(mode="after")
    def _has_means(self) -> Self:
        if self.prior_mean and self.words != DIGITS:
            raise ValueError(
                f"prior_mean knows the means of the {DIGITS} digits; got words: {self.words}. Leave it out"
            )
        return self
