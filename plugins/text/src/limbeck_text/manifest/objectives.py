"""Objectives on the next token: one on real text, and token divergences, which differ in their defaults."""

from collections.abc import Mapping, Set
from typing import Any

from limbeck.manifest import Component, Needs


def token_divergence(
    name: str,
    summary: str,
    reference: str,
    best_for: str,
    defaults: Mapping[str, Any],
    formula: str,
    cost: str = "1 student and 1 teacher evaluation per step; logits are held for one chunk of tokens only",
    fails: str = "",
    generator: Set[str] = frozenset({"log_probs"}),
    teacher: Set[str] = frozenset({"log_probs"}),
    preset_of: str = "fkl",
) -> Component:
    """A row: `TokenDivergence` with other defaults."""
    return Component(
        "objective",
        name,
        "limbeck_text.objectives.token_divergence:TokenDivergence",
        summary=summary,
        options="limbeck_text.options.objectives:TokenDivergenceOptions",
        defaults=defaults,
        preset_of=preset_of,
        modality="text",
        needs=Needs(generator=generator, teacher=teacher, data={"samples"}),
        reference=reference,
        details={
            "family": "token divergence",
            "best for": best_for,
            "formula": formula,
            "cost": cost,
            "fails": fails,
        },
    )


COMPONENTS = [
    Component(
        "objective",
        "language_modelling",
        "limbeck_text.objectives.language_modelling:LanguageModelling",
        summary="cross-entropy of the next token, on real text",
        modality="text",
        needs=Needs(generator={"log_probs"}, data={"samples"}),
        details={
            "family": "pretraining",
            "best for": "training a teacher of text; the baseline of a distilled student",
            "cost": "1 network evaluation per step",
        },
    ),
    token_divergence(
        "kd",
        "cross-entropy with the text and, softened by a temperature, with the teacher's next-token distribution",
        "Hinton et al. 2015",
        "language models, the text's own tokens beside the teacher",
        {"divergence": {"weight": 0.5}, "ce_weight": 0.5},
        formula="(1 - w) CE + w T^2 KL(p_T || q_T)",
        fails="the text's cross-entropy pulls away from the teacher's distribution where the text is one draw of many",
    ),
    token_divergence(
        "fkl",
        "forward KL of the next-token distributions: the student covers every token that the teacher considers",
        "Hinton et al. 2015; Kim & Rush 2016",
        "language models; the first thing to try",
        {},  # the defaults of the options: the others are its presets
        formula="KL(p || q)",
        fails="a small student spreads over what it cannot represent: samples are less likely under the teacher",
        preset_of="",
    ),
    token_divergence(
        "rkl",
        "reverse KL of the next-token distributions: the student keeps to tokens that the teacher finds likely",
        "Gu et al. 2024 (MiniLLM), its single-step part",
        "language models that should write well rather than cover everything",
        {"divergence": {"kind": "reverse_kl"}},
        formula="KL(q || p)",
        fails="from random weights it settles on few tokens; start from a pretrained student",
    ),
    token_divergence(
        "jsd",
        "generalized Jensen-Shannon divergence of the next-token distributions, between forward and reverse KL",
        "Agarwal et al. 2024 (GKD), Eq. 2",
        "between `fkl` and `rkl`",
        {"divergence": {"kind": "generalized_jsd"}},
        formula="beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q",
        fails="bounded by log 2, its gradient fades where the distributions are far apart: slow from random weights",
    ),
    token_divergence(
        "gkd",
        "generalized JSD on texts of the data and, with chance student_fraction, of the student itself",
        "Agarwal et al. 2024 (GKD)",
        "language models, on texts of their own",
        {"divergence": {"kind": "generalized_jsd"}, "texts": "student", "student_fraction": 0.5},
        formula="(1 - lambda) E_data D(p, q) + lambda E_student D(p, q), no gradient through the sampling",
        cost="as jsd, and with chance lambda one student evaluation per token of the completions",
        fails="texts of an untrained student teach little: pretrain it first",
        generator={"log_probs", "generates"},
    ),
    token_divergence(
        "seq_kd",
        "cross-entropy on texts that the teacher wrote",
        "Kim & Rush 2016",
        "teachers of which only the texts are known",
        {"divergence": {"weight": 0.0}, "ce_weight": 1.0, "texts": "teacher"},
        formula="E_{y ~ teacher} CE(y)",
        cost="1 student evaluation per step; the texts cost one teacher evaluation per token, up front",
        fails="one draw per position carries less information than the distribution: more steps than fkl",
        teacher={"generates"},
    ),
]
