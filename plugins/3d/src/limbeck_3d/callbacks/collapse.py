"""The callback `3d/collapse`: warns early that a field has become empty or full, instead of at the export."""

import warnings
from typing import Any

from limbeck.errors import RecipeError
from limbeck.interfaces import unwrap
from limbeck.networks.sharding import is_sharded
from limbeck_3d.geometry.state import SceneCollapsed, state_of
from limbeck_3d.options.callbacks import CollapseOptions
from limbeck_3d.scenes.base import FieldScene


class Collapse:
    """Looks at the field every so many steps; warns once for each kind of collapse, or stops the run."""

    Options = CollapseOptions

    def __init__(self, **options: Any):
        self.options = CollapseOptions(**options)
        self.scene: FieldScene | None = None
        self.warned: set[str] = set()

    def run_started(self, built: Any) -> None:
        scene = unwrap(built.generator)
        if is_sharded(scene):
            raise RecipeError(
                "callbacks: 'collapse' looks at the scene in the main process, which holds a part of it under "
                "train.parallel: fully_shard. Use train.parallel: ddp, or drop the callback"
            )
        self.scene = scene if isinstance(scene, FieldScene) else None

    def step_ended(self, step: int) -> None:
        if self.scene is None or step < self.options.after or step % self.options.every:
            return
        for particle in range(self.scene.particles):
            state = state_of(self.scene.field(particle=particle))
            if state.kind == "good":
                continue
            which = f"particle {particle}: " if self.scene.particles > 1 else ""
            message = f"after {step} steps, {which}{state}"
            if self.options.stop:
                raise SceneCollapsed(message)
            if f"{particle} {state.kind}" not in self.warned:
                self.warned.add(f"{particle} {state.kind}")
                warnings.warn(message, stacklevel=2)


__all__ = ["Collapse"]
