"""Manifest of limbeck-3d. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_3d.manifest import data, exporters, measures, networks, recipes, scenes

LIMBECK_API = 1


@hookimpl
def components():
    return [
        *data.COMPONENTS,
        *networks.COMPONENTS,
        *scenes.COMPONENTS,
        *measures.COMPONENTS,
        *exporters.COMPONENTS,
        *recipes.COMPONENTS,
    ]
