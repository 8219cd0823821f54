"""Manifest of limbeck-audio. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl

LIMBECK_API = 1


@hookimpl
def components():
    return []
