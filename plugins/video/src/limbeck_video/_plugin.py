"""Manifest of limbeck-video. Imports neither torch nor pydantic."""

from limbeck.manifest import hookimpl

LIMBECK_API = 1


@hookimpl
def components():
    return []
