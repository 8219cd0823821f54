"""Options of the networks of sound. No torch here: the registry reads them before anything heavy loads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options

Width = Annotated[int, Field(ge=8, multiple_of=8)]
Process = Literal["rectified_flow", "trigflow", "edm", "vp", "vp_cosine"]

DIGITS = 10
SIDE = 64  # mel bands, and frames, of one event


class MelGeneratorOptions(Options):
    """A U-Net over mel spectrograms, conditioned on the word, on a process of your choice."""

    channels: tuple[Width, ...] = Field((64, 128), min_length=1, description="width of every level, finest first")
    blocks: int = Field(1, ge=1, description="residual blocks per level")
    patch: Literal[1, 2, 4, 8] = Field(4, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((1,), description="levels that attend over all positions; 0 is the finest")
    embedding: int = Field(128, ge=8, description="width of the embedding of time and word")
    dropout: float = Field(0.0, ge=0, lt=1, description="in every block, while training")
    words: int = Field(DIGITS, ge=1, description="number of words; the label of that number means no word")
    process: Process = Field("rectified_flow", description="how data is corrupted")
    shift: float = Field(1.0, gt=0, description="time shift of rectified flow")
    prediction: Literal["velocity", "v", "eps", "x0", "edm"] = Field(
        "edm", description="what the network predicts; edm: the same weights mean the same on every process"
    )
    two_times: bool = Field(False, description="accept a second time s, to learn a flow map")
    prior_mean: bool = Field(
        False, description="noise around the mean spectrogram of the digit (CoMoSpeech), as its network sees it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stride = self.patch * 2 ** (len(self.channels) - 1)
        if SIDE % stride:
            raise ValueError(
                f"{SIDE} mel bands cannot be divided by {stride} (patch {self.patch}, {len(self.channels)} levels): "
                "use fewer channels or a smaller patch"
            )
        if bad := [level for level in self.attention if not 0 <= level < len(self.channels)]:
            raise ValueError(
                f"attention levels {bad} do not exist: {len(self.channels)} channels make levels 0 to "
                f"{len(self.channels) - 1}"
            )
        if self.shift != 1 and self.process != "rectified_flow":
            raise ValueError(f"shift belongs to rectified_flow; the process is {self.process}")
        if self.prior_mean and self.words != DIGITS:
            raise ValueError(
                f"prior_mean knows the means of the {DIGITS} digits; got words: {self.words}. Leave it out"
            )
        return self


class SpokenDigitsTeacherOptions(Options):
    """The bundled teacher of spoken words."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")
    process: Process | None = Field(
        None,
        description="say the same on another process (exact: an edm network sees only sigma / alpha); None: as trained",
    )
