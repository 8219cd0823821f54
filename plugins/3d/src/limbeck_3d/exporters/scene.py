"""The scene of a run, for exporters.

An exporter is `exporter(run, directory, **options) -> list of files`. All take the weights of the run's last good
checkpoint, and refuse a folder that holds something, unless the option `overwrite` is set. Everything lies in one
convention: right-handed, +y up, the front looks along +z, the scene in [-1, 1]^3.
"""

from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.interfaces import unwrap
from limbeck.networks.scenes import Scene

CONVENTION = "right-handed, +y up, front looks along +z, scene in [-1, 1]^3"


def scene_of(run: Any) -> Scene:
    """The scene with the weights of the last good checkpoint, on the CPU."""
    scene = unwrap(run.generator())
    if not isinstance(scene, Scene):
        raise LimbeckError(
            f"this exporter writes scenes; the generator of this run is {type(scene).__name__}. For one that fits: "
            "limbeck list exporters"
        )
    return scene.cpu().eval()


def check_particle(scene: Scene, particle: int) -> None:
    """Raise LimbeckError when the scene has no such particle."""
    count = getattr(scene, "particles", 1)
    if particle >= count:
        raise LimbeckError(f"particle {particle} of a scene with {count}; give one from 0 to {count - 1}")


def name_of(run: Any) -> str:
    """Name of a run's recipe, or of its folder."""
    return str(getattr(run.recipe, "name", None) or Path(run.path).name)


__all__ = ["CONVENTION", "check_particle", "name_of", "scene_of"]
