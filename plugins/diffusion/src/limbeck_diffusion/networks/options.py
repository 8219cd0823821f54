"""Options that the networks of several modalities share. Pydantic, no torch: the registry reads them before anything
heavy loads. A modality derives its own, with its defaults and its size."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options, ProcessName

Width = Annotated[int, Field(ge=8, multiple_of=8)]


class UNetOptions(Options):
    """A U-Net: widths, patches, attention. Subclasses give `side`, what it must divide."""

    side_unit: ClassVar[str] = "pixels"  # what `side` counts, for messages

    channels: tuple[Width, ...] = Field((32, 64), min_length=1, description="width of every level, finest first")
    blocks: int = Field(1, ge=1, description="residual blocks per level")
    patch: Literal[1, 2, 4, 8] = Field(2, description="side of the patches that the first layer folds into channels")
    attention: tuple[int, ...] = Field((), description="levels that attend over all positions; 0 is the finest")
    embedding: int = Field(128, ge=8, description="width of the embedding of time and condition")
    dropout: float = Field(0.0, ge=0, lt=1, description="in every block, while training")

    @property
    def side(self) -> int:
        """Height and width of an event."""
        raise NotImplementedError(f"{type(self).__name__} gives no side: override the property")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        stride = self.patch * 2 ** (len(self.channels) - 1)
        if self.side % stride:
            raise ValueError(
                f"{self.side} {self.side_unit} cannot be divided by {stride} (patch {self.patch}, "
                f"{len(self.channels)} levels): use fewer channels or a smaller patch"
            )
        if bad := [level for level in self.attention if not 0 <= level < len(self.channels)]:
            raise ValueError(
                f"attention levels {bad} do not exist: {len(self.channels)} channels make levels 0 to "
                f"{len(self.channels) - 1}"
            )
        return self


class UNetDenoiserOptions(UNetOptions):
    """A U-Net as a denoiser on a Gaussian process of your choice."""

    process: ProcessName = Field("rectified_flow", description="how data is corrupted")
    shift: float = Field(1.0, gt=0, description="time shift of rectified flow")
    prediction: Literal["velocity", "v", "eps", "x0", "edm"] = Field(
        "velocity", description="what the network predicts"
    )
    two_times: bool = Field(False, description="accept a second time s, to learn a flow map")

    @model_validator(mode="after")
    def _shifts(self) -> Self:
        if self.shift != 1 and self.process != "rectified_flow":
            raise ValueError(f"shift belongs to rectified_flow; the process is {self.process}")
        return self


__all__ = ["ProcessName", "UNetDenoiserOptions", "UNetOptions", "Width"]
