"""Manifest of limbeck-image. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_image.manifest import data, measures, networks, recipes

LIMBECK_API = 1


@hookimpl
def components():
    return [*data.COMPONENTS, *networks.COMPONENTS, *measures.COMPONENTS, *recipes.COMPONENTS]
