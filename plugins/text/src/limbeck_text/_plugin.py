"""Manifest of limbeck-text. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl
from limbeck_text.manifest import data, exporters, measures, models, objectives, recipes, samplers, sources

LIMBECK_API = 1


@hookimpl
def components():
    return [
        *data.COMPONENTS,
        *models.COMPONENTS,
        *objectives.COMPONENTS,
        *sources.COMPONENTS,
        *samplers.COMPONENTS,
        *measures.COMPONENTS,
        *exporters.COMPONENTS,
        *recipes.COMPONENTS,
    ]
