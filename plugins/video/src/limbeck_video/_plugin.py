"""Manifest of limbeck-video. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_video.manifest import (
    measures as _measures_manifest,
    models as _models_manifest,
    pipelines as _diffusers_manifest,
)

LIMBECK_API = 1


@hookimpl
def components():
    return [*_measures_manifest.COMPONENTS, *_models_manifest.COMPONENTS, *_diffusers_manifest.COMPONENTS]
