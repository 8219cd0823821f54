"""Manifest of limbeck-text. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, Needs, hookimpl
from limbeck_text.manifest.distillation import DISTILLATION
from limbeck_text.manifest.masked import MASKED

LIMBECK_API = 1

_OPTIONS = "limbeck_text.options.text"
_PACKAGE = "limbeck_text"
_LANGUAGE_MODEL = {"log_probs", "generates", "trainable_copy"}


def _recipe(name: str, summary: str) -> Component:
    return Component("recipe", name, f"{_PACKAGE}:recipes/{name}.yaml", summary=summary, modality="text")


_COMPONENTS: list[Component] = [
    # --- data ---
    Component(
        "data",
        "pydocs",
        f"{_PACKAGE}.data.pydocs:Pydocs",
        summary="text that ships with CPython, or a folder of your own, in windows of tokens",
        options=f"{_OPTIONS}:PydocsOptions",
        modality="text",
        can={"samples", "conditions", "held_out"},
        details={"conditions": "with prompt: N, the first N tokens of a window", "licence": "PSF-2.0 (CPython)"},
        example={"length": 32},
    ),
    # --- language models ---
    Component(
        "teacher",
        "pydocs_lm",
        f"{_PACKAGE}.models.language_model:pydocs_teacher",
        summary="bundled autoregressive teacher of CPython's documents, trained by recipe pydocs_lm_teacher",
        options=f"{_OPTIONS}:PydocsTeacherOptions",
        modality="text",
        can=_LANGUAGE_MODEL,
    ),
    Component(
        "generator",
        "pydocs_lm",
        f"{_PACKAGE}.models.language_model:pydocs_lm",
        summary="fresh causal language model of the Llama type on the bundled tokenizer",
        options=f"{_OPTIONS}:PydocsLMOptions",
        modality="text",
        can=_LANGUAGE_MODEL,
        example={"hidden": 32, "layers": 1, "heads": 2},
    ),
    Component(
        "teacher",
        "causal_lm",
        f"{_PACKAGE}.models.language_model:causal_lm",
        summary="any causal language model of transformers, from a folder or the hub",
        options=f"{_OPTIONS}:CausalLMOptions",
        modality="text",
        can=_LANGUAGE_MODEL,
        example=None,  # a model of somebody's own, or from the hub
    ),
    Component(
        "generator",
        "causal_lm",
        f"{_PACKAGE}.models.language_model:causal_lm",
        summary="any causal language model of transformers, from a folder or the hub",
        options=f"{_OPTIONS}:CausalLMOptions",
        modality="text",
        can=_LANGUAGE_MODEL,
        example=None,  # a model of somebody's own, or from the hub
    ),
    Component(
        "objective",
        "language_modelling",
        f"{_PACKAGE}.objectives.language_modelling:LanguageModelling",
        summary="cross entropy of the next token, on real text",
        modality="text",
        needs=Needs(generator={"log_probs"}, data={"samples"}),
        details={"calls": "1 per step"},
    ),
    Component(
        "sampler",
        "autoregressive",
        f"{_PACKAGE}.samplers.autoregressive:Autoregressive",
        summary="token by token with a key-value cache; temperature and nucleus sampling",
        options=f"{_OPTIONS}:AutoregressiveOptions",
        modality="text",
        can={"generates"},
        reference="Holtzman et al. 2020 (nucleus sampling)",
    ),
    Component(
        "exporter",
        "transformers",
        f"{_PACKAGE}.exporters.transformers:export_transformers",
        summary="a folder for AutoModelForCausalLM and AutoTokenizer; adapters are merged",
        options=f"{_OPTIONS}:TransformersExportOptions",
        modality="text",
    ),
    Component(
        "exporter",
        "peft",
        f"{_PACKAGE}.exporters.transformers:export_peft",
        summary="a folder with the low-rank adapters alone, for PeftModel.from_pretrained",
        options=f"{_OPTIONS}:PeftExportOptions",
        modality="text",
    ),
    # --- metrics and views ---
    Component(
        "metric",
        "nll",
        f"{_PACKAGE}.metrics.likelihood:NLL",
        summary="negative log likelihood of held-out text, in nats per token and bits per byte",
        options=f"{_OPTIONS}:NLLOptions",
        modality="text",
    ),
    Component(
        "metric",
        "kl_to_teacher",
        f"{_PACKAGE}.metrics.likelihood:KLToTeacher",
        summary="forward KL from teacher to student per token of held-out text",
        options=f"{_OPTIONS}:NLLOptions",
        modality="text",
    ),
    Component(
        "metric",
        "generative_nll",
        f"{_PACKAGE}.metrics.likelihood:GenerativeNLL",
        summary="negative log likelihood of samples under an independent language model",
        options=f"{_OPTIONS}:GenerativeNLLOptions",
        modality="text",
    ),
    Component(
        "view",
        "tokens",
        f"{_PACKAGE}.tokenizers.codec:view_tokens",
        summary="texts to read",
        modality="text",
    ),
    # --- recipes ---
    _recipe("pydocs_lm_teacher", "trains the bundled autoregressive teacher of text"),
    _recipe("pydocs_lm_judge", "trains the independent language model that judges samples"),
    _recipe("pydocs_lm_student_ce", "a language model of half the teacher's size, by plain cross entropy"),
]


@hookimpl
def components():
    return [*_COMPONENTS, *DISTILLATION, *MASKED]
