"""Options of the video networks and teachers. No torch here."""

from typing import Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options


class ClipNetworkOptions(Options):
    """A factorised transformer of clips on a process of your choice."""

    width: int = Field(128, ge=8, multiple_of=4, description="width of the network")
    depth: int = Field(6, ge=1, description="blocks of attention in space, attention in time and a two-layer network")
    heads: int = Field(4, ge=1, description="heads of every attention")
    patch: Literal[2, 4, 5, 10] = Field(5, description="side of a patch, in pixels")
    attention: Literal["full", "causal", "block_causal"] = Field(
        "full", description="frames that a frame sees: all, those before it, or those of its own and earlier chunks"
    )
    chunk: int = Field(4, ge=1, description="frames of a chunk, with block_causal")
    window: int | None = Field(
        None, ge=1, description="frames before its own chunk that a frame sees when a whole clip is given; null: all"
    )
    sink: int = Field(0, ge=0, description="first frames that stay visible beyond that window")
    process: Literal["rectified_flow", "trigflow", "vp_cosine"] = Field(
        "rectified_flow", description="how clips are corrupted"
    )
    shift: float | None = Field(
        None,
        gt=0,
        description="time shift of rectified flow: more time at much noise; null: 3, as the bundled teacher has",
    )
    prediction: Literal["v", "velocity", "x0"] = Field("v", description="what the network predicts")
    two_times: bool = Field(False, description="accept a second time s, to learn a flow map")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be split among {self.heads} heads: use a multiple")
        if self.shift not in (None, 1) and self.process != "rectified_flow":
            raise ValueError(f"shift belongs to rectified_flow; the process is {self.process}")
        if self.attention == "full" and (self.window is not None or self.sink):
            raise ValueError("window and sink limit what causal attention sees; attention is full: leave them out")
        return self


class CausalNetworkOptions(ClipNetworkOptions):
    """A causal transformer of clips that begins with the weights of the bundled causal start."""

    attention: Literal["causal", "block_causal"] = Field(
        "block_causal", description="frames that a frame sees: those before it, or those of its own and earlier chunks"
    )
    start: Literal["bundled", "fresh"] = Field(
        "bundled",
        description="first weights; bundled ones fit the options they were trained with, which are the others",
    )
