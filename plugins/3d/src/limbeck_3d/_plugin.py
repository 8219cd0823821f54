"""Manifest of limbeck-3d. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl
from limbeck_3d.scene_components import SCENES

LIMBECK_API = 1

_OPTIONS = "limbeck_3d.options"
_PACKAGE = "limbeck_3d"

_COMPONENTS: list[Component] = []


@hookimpl
def components():
    return [*_COMPONENTS, *SCENES]
