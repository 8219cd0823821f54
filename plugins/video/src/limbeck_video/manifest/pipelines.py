"""Pipelines of diffusers as teachers and students of video, with a recipe. Imports neither torch nor pydantic."""

from limbeck.manifest import Component
from limbeck_diffusion.manifest.pipelines_families import family_components

_RECIPE = Component(
    "recipe",
    "wan_lora_dmd2",
    "limbeck_video:recipes/wan_lora_dmd2.yaml",
    summary="Wan 2.1 in four steps by distribution matching, as adapters, from prompts alone",
    modality="video",
)

COMPONENTS = [*family_components("video"), _RECIPE]
