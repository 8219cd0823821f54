"""The training engine: one loop over the phases of an objective, with everything around it that its steps need. What
follows the last step is `limbeck.runs`' business.
"""

from limbeck.engine.loop import Training

__all__ = ["Training"]
