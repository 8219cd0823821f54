"""Manifest of limbeck-video. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_video import _diffusers_manifest, _measures_manifest, _models_manifest

LIMBECK_API = 1


@hookimpl
def components():
    return [*_measures_manifest.COMPONENTS, *_models_manifest.COMPONENTS, *_diffusers_manifest.COMPONENTS]
