"""What a classifier finds in renders: the shapes and colours of the prompt, the side of the camera.

Letters: N views.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Data, Metric
from limbeck.networks.scenes import Cameras
from limbeck_3d.features.view_encoder import describe, targets
from limbeck_3d.prompts.captions import views
from limbeck_3d.prompts.words import VIEWS


class ViewAccuracy(Metric):
    """The bundled classifier on renders, against the prompt and the camera.

    `named`: share of views in which shapes and colours are those of the prompt. `view_accuracy`: share of views that
    are classified as the side they are (front, side, back, overhead). `janus`: share of views from the back that are
    classified as a front; 0 for honest scenes, up to 1 when there is a face on every side. Without views from the back,
    left out.
    """

    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "named": "higher",
        "view_accuracy": "higher",
        "janus": "lower",
    }

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        if not isinstance(cond, Conditions) or "text" not in cond:
            raise LimbeckError(
                "view_accuracy needs the prompts and cameras that the views were made for (conditions text, azimuth, "
                "elevation, distance, fov)"
            )
        predicted, wanted = describe(samples), targets(cond["text"])
        side = views(Cameras.of(cond.to("cpu")))
        named = torch.stack([(predicted[name] == wanted[name]) for name in ("colour", "shape", "below", "base")]).all(
            dim=0
        )
        found = {
            "named": named.double().mean().item(),
            "view_accuracy": (predicted["view"] == side).double().mean().item(),
        }
        back = side == VIEWS.index("back")
        if bool(back.any()):
            found["janus"] = (predicted["view"][back] == VIEWS.index("front")).double().mean().item()
        return found


__all__ = ["ViewAccuracy"]
