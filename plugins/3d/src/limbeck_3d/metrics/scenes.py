"""Metrics of scenes: silhouettes and surfaces against the true mesh, and what a classifier reads in the renders.

Formulas are pure functions. Letters: N views, H W pixels, P points.
"""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy
import torch
from torch import Tensor, nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Data, Metric, ModelMetric, Teacher
from limbeck.networks.scenes import Cameras, Scene
from limbeck_3d.data import solids
from limbeck_3d.data.captions import VIEWS
from limbeck_3d.data.views import Prompt, conditions_of, orbit_cameras
from limbeck_3d.features.view_encoder import describe, targets
from limbeck_3d.options.models import ChamferOptions, SilhouetteOptions
from limbeck_3d.rendering.rasterise import rasterise

Better = ClassVar[Mapping[str, Literal["lower", "higher"]]]

# --- formulas --------------------------------------------------------------------------------------------------------


def silhouette_iou(alpha: Tensor, true: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of the pixels that are more opaque than `threshold`, view by view: (N, 1, H, W) twice,
    (N,) back. 1 where both are empty."""
    ours, theirs = alpha > threshold, true > threshold
    both, either = (ours & theirs).flatten(1).sum(1), (ours | theirs).flatten(1).sum(1)
    return torch.where(either == 0, 1.0, both / either.clamp_min(1))


def chamfer(points: Any, others: Any) -> float:
    """Mean distance from each point (P, 3) to the nearest of the others (P', 3), averaged over both directions; in
    units of the scene, not squared."""
    from scipy.spatial import cKDTree

    there, back = cKDTree(others).query(points)[0], cKDTree(points).query(others)[0]
    return float(0.5 * (there.mean() + back.mean()))


# --- metrics ---------------------------------------------------------------------------------------------------------


def _true_mesh(reference: Data, metric: str) -> Any:
    """The true mesh, or None after a warning that says why there is none."""
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


class SilhouetteIoU(ModelMetric):
    """`silhouette_iou`: mean over evenly spaced held-out views, at the scene's own resolution; `silhouette_iou_worst`:
    its worst view. Nothing for prompts without a true mesh, and for models that are no scenes."""

    Options = SilhouetteOptions
    better: Better = {"silhouette_iou": "higher", "silhouette_iou_worst": "higher"}

    def __init__(self, **options: Any):
        self.views = SilhouetteOptions(**options).views

    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        if not isinstance(model, Scene) or (mesh := _true_mesh(reference, "silhouette_iou")) is None:
            return {}
        assert isinstance(reference, Prompt)
        cameras = orbit_cameras(self.views, reference.options)
        cond = conditions_of(reference.tokens, cameras, torch.zeros(self.views, 3))
        alpha = model(cond.to(next(model.parameters()).device)).alpha.cpu()
        true = rasterise(solids.surface(mesh, reference.prompt), cameras, alpha.shape[-1], supersample=4).alpha
        found = silhouette_iou(alpha, true)
        return {"silhouette_iou": found.mean().item(), "silhouette_iou_worst": found.min().item()}


class Chamfer(ModelMetric):
    """`chamfer`: distance between the scene's surface, as exported, and the true one, in units of the scene (whose
    content has radius 0.8). nan when the scene has no surface; nothing for prompts without a true mesh."""

    Options = ChamferOptions
    better: Better = {"chamfer": "lower"}

    def __init__(self, **options: Any):
        self.points = ChamferOptions(**options).points

    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        from limbeck_3d.scenes.surface import scene_mesh
        from limbeck_3d.scenes.voxels import FieldScene

        if not isinstance(model, FieldScene) or (mesh := _true_mesh(reference, "chamfer")) is None:
            return {}
        try:
            ours = scene_mesh(model)
        except LimbeckError as error:  # a field that is empty or full everywhere
            warnings.warn(f"chamfer is nan: {error}", stacklevel=2)
            return {"chamfer": float("nan")}
        return {"chamfer": chamfer(*(surface_points(each, self.points) for each in (ours, mesh)))}


def surface_points(mesh: Any, count: int) -> numpy.ndarray:
    """Points spread evenly over a mesh by area, the same at every call, (count, 3)."""
    import trimesh

    return numpy.asarray(trimesh.sample.sample_surface(mesh, count, seed=0)[0])


class ViewAccuracy(Metric):
    """What the bundled classifier reads in renders, against the prompt and the camera.

    `named`: share of views in which shapes and colours are those of the prompt. `view_accuracy`: share of views that
    are told to be the side they are (front, side, back, overhead). `janus`: share of views from the back that are read
    as a front; 0 for honest scenes, up to 1 when there is a face on every side. Without views from the back, left out.
    """

    better: Better = {"named": "higher", "view_accuracy": "higher", "janus": "lower"}

    def __call__(self, samples: Tensor, cond: Any, reference: Data) -> dict[str, float]:
        from limbeck_3d.data.captions import views

        if not isinstance(cond, Mapping) or "text" not in cond:
            raise LimbeckError(
                "view_accuracy needs the prompts and cameras that the views were made for (conditions text, azimuth, "
                "elevation, distance, fov)"
            )
        read, wanted = describe(samples), targets(cond["text"])
        side = views(Cameras.of(cond.to("cpu")))
        named = torch.stack([(read[name] == wanted[name]) for name in ("colour", "shape", "below", "base")]).all(dim=0)
        found = {
            "named": named.double().mean().item(),
            "view_accuracy": (read["view"] == side).double().mean().item(),
        }
        back = side == VIEWS.index("back")
        if bool(back.any()):
            found["janus"] = (read["view"][back] == VIEWS.index("front")).double().mean().item()
        return found


__all__ = ["Chamfer", "SilhouetteIoU", "ViewAccuracy", "chamfer", "silhouette_iou", "surface_points"]
