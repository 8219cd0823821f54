"""Pipelines of diffusers as teachers and students of video. Imports neither torch nor pydantic."""

from limbeck_diffusion.manifest.pipelines_families import family_components

COMPONENTS = family_components("video")
