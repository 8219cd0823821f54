"""The surface of a scene against the true one. Letters: P points."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Data, ModelMetric, Teacher
from limbeck_3d.geometry.surface import mesh_field
from limbeck_3d.metrics.true_mesh import true_mesh
from limbeck_3d.options.measures import ChamferOptions
from limbeck_3d.scenes.base import FieldScene


def chamfer(points: Any, others: Any) -> float:
    """Mean distance from each point (P, 3) to the nearest of the others (P', 3), averaged over both directions; in
    units of the scene, not squared."""
    from scipy.spatial import cKDTree

    there, back = cKDTree(others).query(points)[0], cKDTree(points).query(others)[0]
    return float(0.5 * (there.mean() + back.mean()))


def surface_points(mesh: Any, count: int) -> numpy.ndarray:
    """Points spread evenly over a mesh by area, the same at every call, (count, 3)."""
    import trimesh

    return numpy.asarray(trimesh.sample.sample_surface(mesh, count, seed=0)[0])


class Chamfer(ModelMetric):
    """`chamfer`: distance between the scene's surface, as exported, and the true one, in units of the scene (whose
    content has radius 0.8). nan when the scene has no surface; nothing for prompts without a true mesh."""

    Options = ChamferOptions
    better: ClassVar[Mapping[str, Literal["lower", "higher"]]] = {"chamfer": "lower"}

    def __init__(self, **options: Any):
        self.points = ChamferOptions(**options).points

    def __call__(self, model: nn.Module, teacher: Teacher | None, reference: Data) -> dict[str, float]:
        if not isinstance(model, FieldScene) or (mesh := true_mesh(reference, "chamfer")) is None:
            return {}
        try:
            ours = mesh_field(model.field()).mesh
        except LimbeckError as error:  # a field that is empty or full everywhere
            warnings.warn(f"chamfer is nan: {error}", stacklevel=2)
            return {"chamfer": float("nan")}
        return {"chamfer": chamfer(*(surface_points(each, self.points) for each in (ours, mesh)))}


__all__ = ["Chamfer", "chamfer", "surface_points"]
