"""Metrics of text, and its view."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "metric",
        "nll",
        "limbeck_text.metrics.likelihood:NLL",
        summary="negative log likelihood of held-out text, in nats per token and bits per byte",
        options="limbeck_text.options.measures:NLLOptions",
        modality="text",
    ),
    Component(
        "metric",
        "kl_to_teacher",
        "limbeck_text.metrics.likelihood:KLToTeacher",
        summary="forward KL from teacher to student per token of held-out text",
        options="limbeck_text.options.measures:NLLOptions",
        modality="text",
    ),
    Component(
        "metric",
        "generative_nll",
        "limbeck_text.metrics.likelihood:GenerativeNLL",
        summary="negative log likelihood of samples under an independent language model",
        options="limbeck_text.options.measures:GenerativeNLLOptions",
        modality="text",
    ),
    Component(
        "metric",
        "token_entropy",
        "limbeck_text.metrics.diversity:TokenEntropy",
        summary="entropy of the token histogram within a sample, nats: repetition shows",
        modality="text",
        reference="Deschenaux & Gulcehre 2024",
    ),
    Component(
        "metric",
        "distinct_n",
        "limbeck_text.metrics.diversity:DistinctN",
        summary="share of distinct n-grams in all samples",
        options="limbeck_text.options.measures:DistinctOptions",
        modality="text",
        reference="Li et al. 2016",
    ),
    Component(
        "metric",
        "nll_bound",
        "limbeck_text.metrics.likelihood_bound:NLLBound",
        summary="likelihood bound of held-out windows under a masked diffusion model, nats per token",
        options="limbeck_text.options.measures:NLLBoundOptions",
        modality="text",
        reference="Sahoo et al. 2024",
    ),
    Component(
        "view",
        "tokens",
        "limbeck_text.views.texts:view_tokens",
        summary="texts to read",
        modality="text",
    ),
]
