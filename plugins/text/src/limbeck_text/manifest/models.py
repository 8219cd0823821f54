"""Teachers and generators of text."""

from limbeck.manifest import Component, bundled

LANGUAGE_MODEL = {"log_probs", "generates", "trainable_copy"}
MASKED_DIFFUSION = {"categorical", "denoiser", "features", "trainable_copy", "sampling"}

COMPONENTS = [
    bundled(
        "pydocs_lm",
        "limbeck_text",
        "pydocs_lm_teacher.safetensors",
        generator="text/pydocs_lm",
        summary="bundled autoregressive teacher of CPython's documents, trained by recipe pydocs_lm_teacher",
        modality="text",
        can=LANGUAGE_MODEL,
    ),
    bundled(
        "pydocs_lm_judge",
        "limbeck_text",
        "pydocs_lm_judge.safetensors",
        generator="text/pydocs_lm",
        summary="bundled language model that judges samples, trained by recipe pydocs_lm_judge on documents of its own",
        modality="text",
        can=LANGUAGE_MODEL,
    ),
    Component(
        "teacher",
        "causal_lm",
        "limbeck_text.models.loading:causal_lm",
        summary="any causal language model of transformers, from a folder or the hub",
        options="limbeck_text.options.models:CausalLMOptions",
        modality="text",
        can=LANGUAGE_MODEL,
        example=None,  # a model of somebody's own, or from the hub
    ),
    bundled(
        "pydocs_masked",
        "limbeck_text",
        "pydocs_masked_teacher.safetensors",
        generator="text/pydocs_masked",
        summary="bundled masked-diffusion teacher on CPython's documents, trained by recipe pydocs_masked_teacher",
        modality="text",
        can=MASKED_DIFFUSION,
    ),
    Component(
        "generator",
        "pydocs_lm",
        "limbeck_text.models.llama:pydocs_lm",
        summary="fresh causal language model of the Llama type on the bundled tokenizer",
        options="limbeck_text.options.models:PydocsLMOptions",
        modality="text",
        can=LANGUAGE_MODEL,
        example={"hidden": 32, "layers": 1, "heads": 2},
    ),
    Component(
        "generator",
        "causal_lm",
        "limbeck_text.models.loading:causal_lm",
        summary="any causal language model of transformers, from a folder or the hub",
        options="limbeck_text.options.models:CausalLMOptions",
        modality="text",
        can=LANGUAGE_MODEL,
        example=None,  # a model of somebody's own, or from the hub
    ),
    Component(
        "generator",
        "pydocs_masked",
        "limbeck_text.models.masked_transformer:pydocs_masked",
        summary="masked-diffusion transformer on the bundled tokenizer",
        options="limbeck_text.options.models:PydocsMaskedOptions",
        modality="text",
        can=MASKED_DIFFUSION,
    ),
]
