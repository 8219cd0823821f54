"""Manifest entries of the recipes of scenes. Imports neither torch nor pydantic."""

from functools import partial

from limbeck.manifest import recipe

_recipe = partial(recipe, package="limbeck_3d", modality="3d")

COMPONENTS = [
    _recipe("solids/solids_teacher", "trains the bundled teacher of views (flow matching)"),
    _recipe("solids/solids_compare", "what objectives are compared on: text_to_3d with variants", compare="solids"),
    _recipe("prompt/oracle_to_3d", "a mesh back from closed-form views of it: what score distillation itself can do"),
    _recipe("prompt/text_to_3d", "a mesh from a prompt: limbeck distill text_to_3d prompt='a red torus'", tour="4"),
]
