"""Recipes of text."""

from functools import partial

from limbeck.manifest import recipe

_recipe = partial(recipe, package="limbeck_text", modality="text")

COMPONENTS = [
    _recipe("pydocs/pydocs_lm_teacher", "trains the bundled autoregressive teacher of text"),
    _recipe("pydocs/pydocs_lm_judge", "trains the independent language model that judges samples"),
    _recipe("pydocs/pydocs_lm_student_ce", "a language model of half the teacher's size, by plain cross-entropy"),
    _recipe("pydocs/pydocs_fkl", "distils the bundled language model into one of half its size by forward KL"),
    _recipe("pydocs/pydocs_tour", "pydocs_fkl in three minutes, text before and after", tour="5"),
    _recipe("pydocs/pydocs_kd", "pydocs_fkl with the text's own tokens beside the teacher's distribution"),
    _recipe("pydocs/pydocs_rkl", "pydocs_fkl with the reverse KL"),
    _recipe("pydocs/pydocs_jsd", "pydocs_fkl with the Jensen-Shannon divergence"),
    _recipe("pydocs/pydocs_gkd", "pydocs_fkl with a quarter of the batches completed by the student itself"),
    _recipe("pydocs/pydocs_seq_kd", "half the teacher's size, by cross-entropy on texts that the teacher wrote"),
    _recipe(
        "pydocs/pydocs_lm_compare",
        "what objectives of language models are compared on: pydocs_fkl with variants",
        compare="pydocs_lm",
    ),
    _recipe("pydocs/pydocs_masked_teacher", "trains the bundled masked-diffusion teacher"),
    _recipe(
        "pydocs/pydocs_sdtt",
        "distils the masked teacher into eight sampling steps by self-distillation through time",
    ),
    _recipe(
        "pydocs/pydocs_compare",
        "what objectives of masked diffusion are compared on: pydocs_sdtt with variants",
        compare="pydocs",
    ),
]
