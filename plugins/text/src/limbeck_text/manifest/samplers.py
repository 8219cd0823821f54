"""Samplers of language models."""

from limbeck.manifest import Component

COMPONENTS = [
    Component(
        "sampler",
        "autoregressive",
        "limbeck_text.samplers.autoregressive:Autoregressive",
        summary="token by token with a key-value cache; temperature and nucleus sampling",
        options="limbeck_text.options.samplers:AutoregressiveOptions",
        modality="text",
        can={"generates"},
        reference="Holtzman et al. 2020 (nucleus sampling)",
    ),
]
