"""The scene that sections of a report show."""

import copy
from typing import Any

from limbeck.errors import CheckpointError
from limbeck.interfaces import unwrap
from limbeck.networks.scenes import Scene


def scene_copy(run: Any) -> Scene | None:
    """A copy of the run's scene, on the CPU: the run goes on with its own. None without scene or checkpoint."""
    try:
        scene = unwrap(run.generator()) if isinstance(unwrap(run.built.generator), Scene) else None
    except CheckpointError:
        return None
    return copy.deepcopy(scene).cpu().eval() if isinstance(scene, Scene) else None


__all__ = ["scene_copy"]
