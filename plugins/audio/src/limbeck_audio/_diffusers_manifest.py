"""Pipelines of diffusers as teachers and students of audio. Imports neither torch nor pydantic."""

from limbeck_diffusion._families_manifest import family_components

COMPONENTS = family_components("audio")
