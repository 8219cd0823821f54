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
    context: int = Field(160, ge=2, description="longest sequence in tokens")
    tied: bool = Field(True, description="one matrix for the embedding and the head")
    dropout: float = Field(0.0, ge=0, lt=1, description="on embeddings, attention and feed-forward, while training")

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


class PydocsMaskedOptions(Options):
    """A fresh masked-diffusion transformer on the bundled tokenizer."""

    hidden: int = Field(192, ge=8, description="width")
    layers: int = Field(3, ge=1, description="transformer blocks")
    heads: int = Field(3, ge=1, description="attention heads")
    length: int = Field(128, ge=2, description="tokens per sample, and the longest context")
    schedule: Literal["linear", "cosine"] = Field("linear", description="alpha_t, the chance that a token is visible")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden {self.hidden} cannot be divided into {self.heads} heads of even width: use another number of "
                "heads"
            )
        return self


class PydocsMaskedTeacherOptions(Options):
    """The bundled masked-diffusion teacher."""

    weights: str = Field("", description="a teacher file of your own instead of the bundled one")


class NLLBoundOptions(Options):
    """Likelihood bound of held-out windows under a masked diffusion model."""

    windows: int = Field(200, ge=1, description="held-out windows at the most")
    draws: int = Field(4, ge=1, description="corruptions of every window")
    batch_size: int = Field(32, ge=1, description="windows per call")


class DistinctOptions(Options):
    """Share of distinct n-grams."""

    n: int = Field(2, ge=1, description="longest n: the metric gives distinct_1 to distinct_n")


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
    stop: bool = Field(True, description="finish at an end-of-sequence token; false: go on with the next document")


class TransformersExportOptions(Options):
    """Model and tokenizer in one folder."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="type of the weights")
    overwrite: bool = Field(False, description="replace the files of an earlier export")


class PeftExportOptions(Options):
    """Adapters and tokenizer in one folder."""

    overwrite: bool = Field(False, description="replace the files of an earlier export")


class NLLOptions(Options):
    """Negative log likelihood of held-out windows."""

    windows: int = Field(200, ge=1, description="held-out windows at the most")
    batch_size: int = Field(16, ge=1, description="windows per call")


class GenerativeNLLOptions(Options):
    """Negative log likelihood of samples under an independent model."""

    weights: str = Field("", description="teacher file of the judge; the bundled one when empty")
    batch_size: int = Field(32, ge=1, description="samples per call")


# --- token divergences and where their texts come from ---------------------------------------------------------------


class VocabularyLossOptions(Options):
    """The loss over the vocabulary, which never holds the logits of a whole batch."""

    chunk: int | None = Field(
        None, ge=1, description="tokens whose logits are held at a time; null: as suits the vocabulary and the device"
    )


class TokenDivergenceOptions(VocabularyLossOptions):
    """A divergence of the next-token laws of teacher and student."""

    temperature: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="T: divides both models' logits; the divergence is multiplied by T^2",
    )
    ce_weight: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="weight of the cross-entropy with the tokens themselves, beside it"
    )


class ForwardKLOptions(TokenDivergenceOptions):
    """Forward KL."""


class ReverseKLOptions(TokenDivergenceOptions):
    """Reverse KL."""


class JSDOptions(TokenDivergenceOptions):
    """Generalized Jensen-Shannon divergence."""

    beta: float = Field(
        0.5,
        ge=0,
        le=1,
        description="the teacher's share of the mixture; 0 and 1 are forward and reverse KL by definition",
    )


class GKDOptions(JSDOptions):
    """Generalized JSD on texts of the data and of the student."""

    student_fraction: float = Field(
        0.5, ge=0, le=1, description="lambda: chance that a batch's completions are written by the student"
    )


class HintonOptions(VocabularyLossOptions):
    """Hinton's knowledge distillation."""

    weight: float = Field(0.5, ge=0, le=1, description="w: share of the divergence; 1 - w is the cross-entropy's")
    temperature: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="T: divides both models' logits; the divergence is multiplied by T^2",
    )


class SequenceKDOptions(VocabularyLossOptions):
    """Cross-entropy on texts of the teacher."""


class _WritingOptions(Options):
    prompt: int = Field(32, ge=1, description="first tokens that are continued, where the data itself knows no prompts")
    length: int | None = Field(
        None, ge=1, description="tokens of a completion; null: what is left of the data's windows"
    )
    temperature: float = Field(1.0, ge=0, description="of the sampling; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="smallest set of tokens with so much probability")
    stop: bool = Field(True, description="finish at an end-of-sequence token; false: go on with the next document")


class OnPolicySourceOptions(_WritingOptions):
    """Completions that the student writes while it learns."""

    student_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        description="chance that a batch is the student's; null: the objective's (gkd has one), else 1",
    )


class TeacherTextSourceOptions(_WritingOptions):
    """Completions that the teacher writes."""

    count: int = Field(2048, ge=0, description="completions, written once and kept in memory; 0: new ones every step")
    chunk: int = Field(64, ge=1, description="completions written at a time")
    seed: int = Field(0, ge=0, description="seed of the prompts and the sampling")
