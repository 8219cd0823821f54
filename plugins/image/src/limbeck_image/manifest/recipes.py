"""Recipes of images. No torch, no pydantic."""

from functools import partial

from limbeck.manifest import recipe

_recipe = partial(recipe, package="limbeck_image", modality="image")

COMPONENTS = [
    _recipe("digits/digits_teacher", "trains the bundled digits teacher (flow matching)"),
    _recipe("digits/digits_dmd2", "distils the digits teacher into one step by distribution matching", tour="1"),
    _recipe("digits/digits_dmd2_gan", "digits_dmd2 with a discriminator and real scans"),
    _recipe("digits/digits_dmd2_4step", "distils the digits teacher into four steps, by backward simulation"),
    _recipe("digits/digits_ode_pairs", "distils the digits teacher into one step by regression on stored pairs"),
    _recipe("digits/digits_consistency", "distils the digits teacher into few steps by consistency distillation"),
    _recipe("digits/digits_compare", "what objectives are compared on: digits_dmd2 with variants", compare="digits"),
    _recipe("pipelines/sdxl_dmd2", "Stable Diffusion XL in four steps by distribution matching, from prompts alone"),
    _recipe("pipelines/flux_lora_consistency", "FLUX.1 dev in four steps by consistency distillation, as adapters"),
    _recipe("pipelines/sd15_lcm_lora", "Stable Diffusion 1.5 in four steps by latent consistency, as adapters"),
]
