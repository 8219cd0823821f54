"""Options of objectives."""

from pydantic import Field

from limbeck.options import Options


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
