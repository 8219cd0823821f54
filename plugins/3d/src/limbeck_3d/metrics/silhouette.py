"""Silhouettes of a scene against the true mesh's. Letters: N views, H W pixels."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.interfaces import Data, ModelMetric, Teacher
from limbeck.networks.scenes import Scene
from limbeck_3d.data.cameras import conditions_of, orbit_cameras
from limbeck_3d.data.prompt import Prompt
from limbeck_3d.geometry.solids import surface
from limbeck_3d.metrics.true_mesh import true_mesh
from limbeck_3d.options.measures import SilhouetteOptions
from limbeck_3d.rendering.rasterise import rasterise


def silhouette_iou(alpha: Tensor, true: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the pixels that are more opaque than `threshold`, view by view: (N, 1, H, W) twice,
    (N,) back. 1 where both are empty."""
    ours, theirs = alpha > threshold, true > threshold
    both, either = (ours & theirs).flatten(1).sum(1), (ours | theirs).flatten(1).sum(1)
    return torch.where(either == 0, 1.0, both / either.clamp_min(1))


class SilhouetteIoU(ModelMetric):
    """`silhouette_iou`: mean over evenly spaced held-out views, at the scene's own resolution; `silhouette_iou_worst`:
    its worst view. Nothing for prompts without a true mesh, and for models that are no scenes."""

    Options = SilhouetteOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {
        "silhouette_iou": "higher",
        "silhouette_iou_worst": "higher",
    }

    def __init__(self, **options: Any):
        self.views = SilhouetteOptions(**options).views

    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        if not isinstance(model, Scene) or (mesh := true_mesh(reference, "silhouette_iou")) is None:
            return {}
        assert isinstance(reference, Prompt)
        cameras = orbit_cameras(self.views, reference.options)
        cond = conditions_of(reference.tokens, cameras, torch.zeros(self.views, 3))
        alpha = model(cond.to(next(model.parameters()).device)).alpha.cpu()
        true = rasterise(surface(mesh, reference.prompt), cameras, alpha.shape[-1], supersample=4).alpha
        found = silhouette_iou(alpha, true)
        return {"silhouette_iou": found.mean().item(), "silhouette_iou_worst": found.min().item()}


__all__ = ["SilhouetteIoU", "silhouette_iou"]
