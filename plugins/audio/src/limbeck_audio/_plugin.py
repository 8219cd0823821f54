"""Manifest of limbeck-audio. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_audio.manifest import data, exporters, measures, networks, recipes

LIMBECK_API = 1


@hookimpl
def components():
    return [
        *data.COMPONENTS,
        *networks.COMPONENTS,
        *measures.COMPONENTS,
        *exporters.COMPONENTS,
        *recipes.COMPONENTS,
    ]
