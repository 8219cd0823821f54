"""Manifest of limbeck-text. Imports neither torch nor pydantic."""

from limbeck.manifest import Component, hookimpl

LIMBECK_API = 1

_OPTIONS = "limbeck_text.options"
_PACKAGE = "limbeck_text"

_COMPONENTS: list[Component] = []


@hookimpl
def components():
    return _COMPONENTS
