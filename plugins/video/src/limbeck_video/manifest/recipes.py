"""Manifest entries of the video recipes. Imports neither torch nor pydantic."""

from functools import partial

from limbeck.manifest import recipe

_recipe = partial(recipe, package="limbeck_video", modality="video")

COMPONENTS = [
    _recipe(
        "moving_digits/moving_digits_teacher",
        "trains the bundled bidirectional teacher of moving digits (flow matching)",
    ),
    _recipe(
        "moving_digits/moving_digits_causal",
        "trains the bundled causal start from the teacher's weights (diffusion forcing)",
    ),
    _recipe(
        "moving_digits/moving_digits_self_forcing",
        "distils the teacher into a student that streams, two calls a chunk",
    ),
    _recipe("moving_digits/moving_digits_tour", "moving_digits_self_forcing in five minutes", tour="2"),
    _recipe(
        "moving_digits/moving_digits_dmd2",
        "distils the teacher into four steps by distribution matching, clips at once",
    ),
    _recipe(
        "moving_digits/moving_digits_consistency",
        "distils the teacher into four steps by consistency distillation",
    ),
    _recipe(
        "moving_digits/moving_digits_compare",
        "what objectives are compared on: moving_digits_self_forcing with variants",
        compare="moving_digits",
    ),
    _recipe(
        "prompts/wan_lora_dmd2",
        "Wan 2.1 in four steps by distribution matching, as adapters, from prompts alone",
    ),
]
