"""Options of data."""

from typing import Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options


class PydocsOptions(Options):
    """Text that ships with CPython, or a folder of your own."""

    split: Literal["train", "judge", "held_out"] = Field(
        "train", description="documents that batches are drawn from; judge is for the independent model that judges"
    )
    length: int = Field(128, ge=2, description="tokens per window")
    stride: int | None = Field(None, ge=1, description="tokens between the starts of windows; null: no overlap")
    prompt: int = Field(0, ge=0, description="first tokens of a window that are its condition; 0: unconditional")
    path: str = Field("", description="a folder of .txt and .md files instead of CPython's documents")
    tokenizer: str = Field("", description="tokenizer of a transformers folder or hub id; the bundled one when empty")

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.prompt >= self.length:
            raise ValueError(
                f"a prompt of {self.prompt} tokens leaves nothing to complete in windows of {self.length}: "
                "use a shorter prompt or a longer length"
            )
        return self
