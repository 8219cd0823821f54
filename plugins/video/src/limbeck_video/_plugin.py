"""Manifest of limbeck-video. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_video.manifest import data, exporters, measures, networks, pipelines, recipes

LIMBECK_API = 1


@hookimpl
def components():
    return [
        *data.COMPONENTS,
        *networks.COMPONENTS,
        *pipelines.COMPONENTS,
        *measures.COMPONENTS,
        *exporters.COMPONENTS,
        *recipes.COMPONENTS,
    ]
