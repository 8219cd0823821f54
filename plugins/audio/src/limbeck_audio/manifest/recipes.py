"""Recipes of sound. No torch, no pydantic."""

from functools import partial

from limbeck.manifest import recipe

_recipe = partial(recipe, package="limbeck_audio", modality="audio")

COMPONENTS = [
    _recipe("spoken_digits/spoken_digits_teacher", "trains the bundled teacher of spoken digits (flow matching)"),
    _recipe(
        "spoken_digits/spoken_digits_dmd2",
        "distils the teacher of spoken digits into one step by distribution matching",
    ),
    _recipe("spoken_digits/spoken_digits_tour", "spoken_digits_dmd2 in three minutes", tour="3"),
    _recipe(
        "spoken_digits/spoken_digits_consistency",
        "distils the teacher of spoken digits into one step by consistency distillation",
    ),
    _recipe(
        "spoken_digits/spoken_digits_comospeech",
        "distils the teacher of spoken digits into one step with CoMoSpeech's settings",
    ),
    _recipe(
        "spoken_digits/spoken_digits_compare",
        "what objectives are compared on: spoken_digits_dmd2 with variants",
        compare="spoken_digits",
    ),
]
