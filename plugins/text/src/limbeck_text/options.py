"""Options of the text components. No torch here: the registry reads them before anything heavy loads."""

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


class PydocsLMOptions(Options):
    """A fresh causal language model of the Llama type, on the bundled tokenizer."""

    hidden: int = Field(192, ge=8, description="width")
    layers: int = Field(4, ge=1, description="transformer blocks")
    heads: int = Field(4, ge=1, description="attention heads")
    intermediate: int | None = Field(None, ge=8, description="width of the feed-forward part; null: 8/3 of hidden")
    context: int = Field(128, ge=2, description="longest sequence in tokens")
    tied: bool = Field(True, description="one matrix for the embedding and the head")
    dropout: float = Field(0.0, ge=0, lt=1, description="on embeddings and attention, while training")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} cannot be divided into {self.heads} heads of even width: use another number of "
                "heads"
            )
        return self


class PydocsTeacherOptions(Options):
    """The bundled autoregressive teacher."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")
    judge: bool = Field(False, description="the independent model that judges samples, in place of the teacher")


class CausalLMOptions(Options):
    """Any causal language model of transformers."""

    model: str = Field(min_length=1, description="a folder written by save_pretrained, or a hub id")
    revision: str | None = Field(None, description="revision on the hub")
    context: int | None = Field(None, ge=2, description="longest sequence in tokens; null: the model's own")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="attention of transformers; null: its own choice"
    )


class AutoregressiveOptions(Options):
    """Token by token, with a key-value cache."""

    temperature: float = Field(1.0, ge=0, description="divides logits; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens with so much probability")


class LanguageModellingOptions(Options):
    """Cross entropy of the next token."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over the vocabulary")


class NLLOptions(Options):
    """Negative log likelihood of held-out windows."""

    windows: int = Field(200, ge=1, description="held-out windows at the most")
    batch_size: int = Field(16, ge=1, description="windows per call")


class GenerativeNLLOptions(Options):
    """Negative log likelihood of samples under an independent model."""

    weights: str = Field("", description="teacher file of the judge; the bundled one when empty")
    batch_size: int = Field(32, ge=1, description="samples per call")
