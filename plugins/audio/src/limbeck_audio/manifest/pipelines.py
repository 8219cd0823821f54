"""Pipelines of diffusers as teachers and students of audio. Imports neither torch nor pydantic."""

from limbeck_diffusion.manifest.pipelines_families import family_components

COMPONENTS = family_components("audio")
