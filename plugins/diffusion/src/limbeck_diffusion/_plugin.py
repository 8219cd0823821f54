"""Manifest of limbeck-diffusion. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl
from limbeck_diffusion.manifest import matching, pipelines, pretraining, regression, samplers, sources, trajectory

LIMBECK_API = 1


@hookimpl
def components() -> list[Component]:
    return [
        *pretraining.COMPONENTS,
        *regression.COMPONENTS,
        *trajectory.COMPONENTS,
        *matching.COMPONENTS,
        *sources.COMPONENTS,
        *samplers.COMPONENTS,
        *pipelines.COMPONENTS,
    ]
