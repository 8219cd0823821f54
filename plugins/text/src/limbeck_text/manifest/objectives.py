"""Objectives on the next token."""

from limbeck.manifest import Component, Needs

_BOTH = Needs(generator={"log_probs"}, teacher={"log_probs"}, data={"samples"})
_COST = "1 student and 1 teacher evaluation per step; logits are held for one chunk of tokens only"

COMPONENTS = [
    Component(
        "objective",
        "language_modelling",
        "limbeck_text.objectives.language_modelling:LanguageModelling",
        summary="cross entropy of the next token, on real text",
        modality="text",
        needs=Needs(generator={"log_probs"}, data={"samples"}),
        details={"calls": "1 per step"},
    ),
    Component(
        "objective",
        "kd",
        "limbeck_text.objectives.token_divergence:Hinton",
        summary="cross-entropy with the text and, softened by a temperature, with the teacher's next-token law",
        options="limbeck_text.options.objectives:HintonOptions",
        modality="text",
        needs=_BOTH,
        reference="Hinton et al. 2015",
        details={
            "family": "token divergence",
            "formula": "(1 - w) CE + w T^2 KL(p_T || q_T)",
            "cost": _COST,
            "fails": "the text's cross-entropy pulls away from the teacher's law where the text is one draw of many",
        },
    ),
    Component(
        "objective",
        "fkl",
        "limbeck_text.objectives.token_divergence:ForwardKL",
        summary="forward KL of the next-token laws: the student covers what the teacher may say",
        options="limbeck_text.options.objectives:ForwardKLOptions",
        modality="text",
        needs=_BOTH,
        reference="Hinton et al. 2015; Kim & Rush 2016",
        details={
            "family": "token divergence",
            "formula": "KL(p || q)",
            "cost": _COST,
            "fails": "a small student spreads over what it cannot represent: samples are less likely under the teacher",
        },
    ),
    Component(
        "objective",
        "rkl",
        "limbeck_text.objectives.token_divergence:ReverseKL",
        summary="reverse KL of the next-token laws: the student keeps to what the teacher would say",
        options="limbeck_text.options.objectives:ReverseKLOptions",
        modality="text",
        needs=_BOTH,
        reference="Gu et al. 2024 (MiniLLM), its single-step part",
        details={
            "family": "token divergence",
            "formula": "KL(q || p)",
            "cost": _COST,
            "fails": "from random weights it settles on few tokens; start from a student that knows the language",
        },
    ),
    Component(
        "objective",
        "jsd",
        "limbeck_text.objectives.token_divergence:JSD",
        summary="generalized Jensen-Shannon divergence of the next-token laws, between forward and reverse KL",
        options="limbeck_text.options.objectives:JSDOptions",
        modality="text",
        needs=_BOTH,
        reference="Agarwal et al. 2024 (GKD), Eq. 2",
        details={
            "family": "token divergence",
            "formula": "beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q",
            "cost": _COST,
            "fails": "bounded by log 2, its gradient fades where the laws are far apart: slow from random weights",
        },
    ),
    Component(
        "objective",
        "gkd",
        "limbeck_text.objectives.token_divergence:GKD",
        summary="generalized JSD on texts of the data and, with chance student_fraction, of the student itself",
        options="limbeck_text.options.objectives:GKDOptions",
        modality="text",
        needs=Needs(generator={"log_probs", "generates"}, teacher={"log_probs"}, data={"samples"}),
        reference="Agarwal et al. 2024 (GKD)",
        details={
            "family": "token divergence",
            "formula": "(1 - lambda) E_data D(p, q) + lambda E_student D(p, q), no gradient through the sampling",
            "cost": "as jsd, and with chance lambda one student evaluation per token of the completions",
            "fails": "what a student writes before it knows the language teaches little: pretrain it first",
        },
    ),
    Component(
        "objective",
        "seq_kd",
        "limbeck_text.objectives.token_divergence:SequenceKD",
        summary="cross-entropy on texts that the teacher wrote",
        options="limbeck_text.options.objectives:SequenceKDOptions",
        modality="text",
        needs=Needs(generator={"log_probs"}, teacher={"generates"}, data={"samples"}),
        reference="Kim & Rush 2016",
        details={
            "family": "token divergence",
            "formula": "E_{y ~ teacher} CE(y)",
            "cost": "1 student evaluation per step; the texts cost one teacher evaluation per token, up front",
            "fails": "one draw per position says less than the law it was drawn from: more steps than fkl",
        },
    ),
]
