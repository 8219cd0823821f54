"""The training engine: one loop over the phases of an objective, with everything around it that a run needs."""

from limbeck.engine.loop import train

__all__ = ["train"]
