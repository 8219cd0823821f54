"""Manifest of limbeck-video. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_video.manifest import measures as _measures_manifest
from limbeck_video.manifest import models as _models_manifest
from limbeck_video.manifest import pipelines as _diffusers_manifest

LIMBECK_API = 1


@hookimpl
def components():
    return [*_measures_manifest.COMPONENTS, *_models_manifest.COMPONENTS, *_diffusers_manifest.COMPONENTS]
