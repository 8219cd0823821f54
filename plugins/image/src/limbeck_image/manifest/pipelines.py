"""Pipelines of diffusers as teachers and students of image, and recipes on them. Imports neither torch nor pydantic."""

from limbeck.manifest import Component
from limbeck_diffusion.manifest.pipelines_families import family_components

_RECIPES = [
    Component("recipe", name, f"limbeck_image:recipes/{name}.yaml", summary=summary, modality="image")
    for name, summary in (
        ("sdxl_dmd2", "Stable Diffusion XL in four steps by distribution matching, from prompts alone"),
        ("flux_lora_consistency", "FLUX.1 dev in four steps by consistency distillation, as adapters"),
        ("sd15_lcm_lora", "Stable Diffusion 1.5 in four steps by latent consistency, as adapters"),
    )
]

COMPONENTS = [*family_components("image"), *_RECIPES]
