"""Options of objectives."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from limbeck.manifest import Needs
from limbeck.options import Options

PARAMETERS = {"generalized_jsd": "beta", "skewed_kl": "skew", "skewed_reverse_kl": "skew"}  # the others have none


class DivergenceOptions(Options):
    """A divergence of the next-token distributions: p the teacher's, q the student's."""

    kind: Literal[
        "forward_kl", "reverse_kl", "generalized_jsd", "skewed_kl", "skewed_reverse_kl", "total_variation"
    ] = Field("forward_kl", description="which divergence; formulas in limbeck_text.losses.divergences")
    beta: float | None = Field(
        None,
        ge=0,
        le=1,
        description="generalized_jsd: the teacher's share of the mixture; 0 and 1 are forward and reverse KL by "
        "definition; null: 0.5",
    )
    skew: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="skewed_kl (skewed_reverse_kl): the teacher's (student's) share of the mixture; null: 0.1",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="T: divides both models' logits; the divergence is multiplied by T^2",
    )
    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="of the divergence in the loss; 0: the teacher is not called"
    )

    @model_validator(mode="after")
    def _parameter_of_its_kind(self) -> Self:
        for name in ("beta", "skew"):
            if getattr(self, name) is not None and PARAMETERS.get(self.kind) != name:
                kinds = " and ".join(kind for kind, parameter in PARAMETERS.items() if parameter == name)
                raise ValueError(
                    f"{name} is a parameter of {kinds}, and kind is {self.kind}. Leave it out ({name}: null) or "
                    "change kind"
                )
        return self

    def parameters(self) -> dict[str, Any]:
        """Arguments of `token_divergence` beside the name."""
        return {name: value for name in ("beta", "skew") if (value := getattr(self, name)) is not None}


class TokenDivergenceOptions(Options):
    """weight T^2 D(p, q; T) + ce_weight CE(token), the mean over valid tokens. `kd`, `fkl`, `rkl`, `jsd`, `gkd` and
    `seq_kd` are these options with other defaults."""

    divergence: DivergenceOptions = Field(DivergenceOptions(), description="between teacher and student, per token")
    ce_weight: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="weight of the cross-entropy with the tokens themselves"
    )
    texts: Literal["data", "student", "teacher"] = Field(
        "data",
        description="whose texts it learns from where the recipe has no `source:` block: rows of the data, or their "
        "completions by the student (source on_policy) or the teacher (teacher_text)",
    )
    student_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        description="with texts: student, lambda: chance that a batch's completions are the student's; null: 1",
    )
    chunk: int | None = Field(
        None, ge=1, description="tokens whose logits are held at a time; null: as suits the vocabulary and the device"
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.divergence.weight and not self.ce_weight:
            raise ValueError("divergence.weight and ce_weight are both 0: nothing is learned. Give one a weight")
        if self.student_fraction is not None and self.texts != "student":
            raise ValueError(
                f"student_fraction is the chance that the student writes a batch, and texts is {self.texts}. Use "
                "texts: student (as gkd does), or student_fraction: null"
            )
        return self

    def needs(self) -> Needs:
        writer = {"student": Needs(generator={"generates"}), "teacher": Needs(teacher={"generates"})}
        compared = Needs(teacher={"log_probs"}) if self.divergence.weight else Needs()
        return compared | writer.get(self.texts, Needs())
