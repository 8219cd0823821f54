"""Components of language-model distillation, for the manifest. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, Needs

_OPTIONS = "limbeck_text.options.text"
_PACKAGE = "limbeck_text"

_BOTH = Needs(generator={"log_probs"}, teacher={"log_probs"}, data={"samples"})
_COST = "1 student and 1 teacher evaluation per step; logits are held for one chunk of tokens only"


def _recipe(name: str, summary: str, **details: str) -> Component:
    file = f"{_PACKAGE}:recipes/{name}.yaml"
    return Component("recipe", name, file, summary=summary, modality="text", details=details)


DISTILLATION = [
    Component(
        "objective",
        "kd",
        f"{_PACKAGE}.objectives.divergence:Hinton",
        summary="cross-entropy with the text and, softened by a temperature, with the teacher's next-token law",
        options=f"{_OPTIONS}:HintonOptions",
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
        f"{_PACKAGE}.objectives.divergence:ForwardKL",
        summary="forward KL of the next-token laws: the student covers what the teacher may say",
        options=f"{_OPTIONS}:ForwardKLOptions",
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
        f"{_PACKAGE}.objectives.divergence:ReverseKL",
        summary="reverse KL of the next-token laws: the student keeps to what the teacher would say",
        options=f"{_OPTIONS}:ReverseKLOptions",
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
        f"{_PACKAGE}.objectives.divergence:JSD",
        summary="generalized Jensen-Shannon divergence of the next-token laws, between forward and reverse KL",
        options=f"{_OPTIONS}:JSDOptions",
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
        f"{_PACKAGE}.objectives.divergence:GKD",
        summary="generalized JSD on texts of the data and, with chance student_fraction, of the student itself",
        options=f"{_OPTIONS}:GKDOptions",
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
        f"{_PACKAGE}.objectives.divergence:SequenceKD",
        summary="cross-entropy on texts that the teacher wrote",
        options=f"{_OPTIONS}:SequenceKDOptions",
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
    Component(
        "source",
        "on_policy",
        f"{_PACKAGE}.sources.completions:OnPolicySource",
        summary="rows of the data, or with a given chance the student's completions of their beginnings",
        options=f"{_OPTIONS}:OnPolicySourceOptions",
        modality="text",
        example={"prompt": 8},
        can={"samples"},
        reference="Agarwal et al. 2024 (GKD)",
    ),
    Component(
        "source",
        "teacher_text",
        f"{_PACKAGE}.sources.completions:TeacherTextSource",
        summary="the teacher's completions of the data's beginnings, written once or anew every step",
        options=f"{_OPTIONS}:TeacherTextSourceOptions",
        modality="text",
        example={"count": 16, "prompt": 8},
        can={"samples"},
        reference="Kim & Rush 2016",
    ),
    _recipe("pydocs_fkl", "distils the bundled language model into one of half its size by forward KL"),
    _recipe("pydocs_tour", "pydocs_fkl in three minutes, text before and after", tour="5"),
    _recipe("pydocs_kd", "pydocs_fkl with the text's own tokens beside the teacher's law"),
    _recipe("pydocs_rkl", "pydocs_fkl with the reverse KL"),
    _recipe("pydocs_jsd", "pydocs_fkl with the Jensen-Shannon divergence"),
    _recipe("pydocs_gkd", "pydocs_fkl with a quarter of the batches continued by the student itself"),
    _recipe("pydocs_seq_kd", "half the teacher's size, by cross-entropy on texts that the teacher wrote"),
    _recipe(
        "pydocs_lm_compare",
        "what objectives of language models are compared on: pydocs_fkl with variants",
        compare="pydocs_lm",
    ),
]
