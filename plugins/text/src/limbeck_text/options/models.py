"""Options of teachers and generators."""

from typing import Literal, Self

from pydantic import Field, model_validator

from limbeck.options import Options


class TransformerOptions(Options):
    """Size of a transformer."""

    hidden: int = Field(192, ge=8, description="width")
    layers: int = Field(4, ge=1, description="transformer blocks")
    heads: int = Field(4, ge=1, description="attention heads")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} cannot be divided into {self.heads} heads of even width: use another number of "
                "heads"
            )
        return self


class PydocsLMOptions(TransformerOptions):
    """A fresh causal language model of the Llama type, on the bundled tokenizer."""

    intermediate: int | None = Field(None, ge=8, description="width of the feed-forward part; null: 8/3 of hidden")
    context: int = Field(160, ge=2, description="longest sequence in tokens")
    tied: bool = Field(True, description="one matrix for the embedding and the head")
    dropout: float = Field(0.0, ge=0, lt=1, description="on embeddings, attention and feed-forward, while training")


class CausalLMOptions(Options):
    """Any causal language model of transformers."""

    model: str = Field(min_length=1, description="a folder written by save_pretrained, or a hub id")
    revision: str | None = Field(None, description="revision on the hub")
    context: int | None = Field(None, ge=2, description="longest sequence in tokens; null: the model's own")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="attention of transformers; null: its own choice"
    )


class PydocsMaskedOptions(TransformerOptions):
    """A fresh masked-diffusion transformer on the bundled tokenizer."""

    layers: int = Field(3, ge=1, description="transformer blocks")
    heads: int = Field(3, ge=1, description="attention heads")
    length: int = Field(128, ge=2, description="tokens per sample, and the longest context")
    schedule: Literal["linear", "cosine"] = Field("linear", description="alpha_t, the chance that a token is visible")
