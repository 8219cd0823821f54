"""Components of masked diffusion on text, for the manifest. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_text.options.text"
_PACKAGE = "limbeck_text"
_ABILITIES = {"categorical", "denoiser", "features", "trainable_copy", "sampling"}

MASKED = [
    Component(
        "teacher",
        "pydocs_masked",
        f"{_PACKAGE}.models.masked_transformer:pydocs_masked_teacher",
        summary="bundled masked-diffusion teacher on CPython's documents, trained by recipe pydocs_masked_teacher",
        options=f"{_OPTIONS}:PydocsMaskedTeacherOptions",
        modality="text",
        can=_ABILITIES,
    ),
    Component(
        "generator",
        "pydocs_masked",
        f"{_PACKAGE}.models.masked_transformer:pydocs_masked",
        summary="masked-diffusion transformer on the bundled tokenizer",
        options=f"{_OPTIONS}:PydocsMaskedOptions",
        modality="text",
        can=_ABILITIES,
    ),
    Component(
        "metric",
        "token_entropy",
        f"{_PACKAGE}.metrics.masked:TokenEntropy",
        summary="entropy of the token histogram within a sample, nats: repetition shows",
        modality="text",
        reference="Deschenaux & Gulcehre 2024",
    ),
    Component(
        "metric",
        "distinct_n",
        f"{_PACKAGE}.metrics.masked:DistinctN",
        summary="share of distinct n-grams in all samples",
        options=f"{_OPTIONS}:DistinctOptions",
        modality="text",
        reference="Li et al. 2016",
    ),
    Component(
        "metric",
        "nll_bound",
        f"{_PACKAGE}.metrics.masked:NLLBound",
        summary="likelihood bound of held-out windows under a masked diffusion model, nats per token",
        options=f"{_OPTIONS}:NLLBoundOptions",
        modality="text",
        reference="Sahoo et al. 2024",
    ),
    Component(
        "recipe",
        "pydocs_masked_teacher",
        f"{_PACKAGE}:recipes/pydocs_masked_teacher.yaml",
        summary="trains the bundled masked-diffusion teacher",
        modality="text",
    ),
    Component(
        "recipe",
        "pydocs_compare",
        f"{_PACKAGE}:recipes/pydocs_compare.yaml",
        summary="what objectives of masked diffusion are compared on: pydocs_sdtt with variants",
        modality="text",
        details={"compare": "pydocs"},
    ),
    Component(
        "recipe",
        "pydocs_sdtt",
        f"{_PACKAGE}:recipes/pydocs_sdtt.yaml",
        summary="distils the masked teacher into eight sampling steps by self-distillation through time",
        modality="text",
    ),
]
