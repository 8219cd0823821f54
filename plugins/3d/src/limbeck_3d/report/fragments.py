"""Sections of a report, and the scene that they show."""

import base64
import copy
from dataclasses import dataclass
from typing import Any

from limbeck.errors import CheckpointError
from limbeck.interfaces import unwrap
from limbeck.networks.scenes import Scene


@dataclass(frozen=True)
class Fragment:
    """A title and HTML that needs nothing outside itself."""

    title: str
    body: str

    def html(self) -> str:
        return self.body


def scene_copy(run: Any) -> Scene | None:
    """A copy of the run's scene, on the CPU: the run goes on with its own. None without scene or checkpoint."""
    try:
        scene = unwrap(run.generator()) if isinstance(unwrap(run.built.generator), Scene) else None
    except CheckpointError:
        return None
    return copy.deepcopy(scene).cpu().eval() if isinstance(scene, Scene) else None


def data_uri(kind: str, data: bytes) -> str:
    """Bytes of a media type as a link that needs nothing outside the page."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


__all__ = ["Fragment", "data_uri", "scene_copy"]
