"""The mesh that scenes are compared with."""

import warnings
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.interfaces import Data
from limbeck_3d.data.prompt import Prompt


def true_mesh(reference: Data, metric: str) -> Any:
    """The true mesh of the prompt, or None after a warning with the reason."""
    if not isinstance(reference, Prompt):
        raise LimbeckError(
            f"the metric '{metric}' compares with the true mesh of one prompt; the data is "
            f"{type(reference).__name__}. Use data: {{use: 3d/prompt, prompt: 'a red torus'}}"
        )
    mesh = reference.mesh()
    if mesh is None:
        warnings.warn(
            f"{metric} is left out: the prompt '{reference.prompt}' describes no mesh that could be built, so there is "
            "nothing to compare with",
            stacklevel=3,
        )
    return mesh


__all__ = ["true_mesh"]
