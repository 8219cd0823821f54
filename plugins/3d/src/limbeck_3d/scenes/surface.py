"""From a field to a mesh: where the surface lies, which pieces are floaters, and what a field without a surface gets.

World and meshes share one convention: right-handed, +y up, the front looks along +z; the scene lies in [-1, 1]^3.
Letters: N cells per side, V vertices, F faces.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import LimbeckError, NonFinite
from limbeck.networks.scenes import Cameras
from limbeck_3d.rendering.volume import cube_span, trilinear
from limbeck_3d.scenes.voxels import FieldGrid, FieldScene

FULL = 0.9  # a field is full when more than this share of its cells is opaque
EMPTY_CURE = (
    "Raise the guidance scale, start with a denser ball (generator.blob_density), lower the weights of opacity and "
    "sparsity, or mesh what there is with a lower threshold"
)
FULL_CURE = (
    "Give the scene random backgrounds, weigh generator.opacity or generator.border, lower the learning rate of "
    "densities, or mesh with a higher threshold"
)


class SceneCollapsed(LimbeckError):
    """A field with no surface: empty, or full to its faces."""


@dataclass(frozen=True)
class FieldState:
    """What a field is like: `kind`, the largest density, the share of cells above the threshold, the share of cells on
    the cube's faces above it, the threshold (None when no ray is half opaque), and the highest alpha then."""

    kind: Literal["good", "empty", "full"]
    max_density: float
    opaque: float
    opaque_border: float
    threshold: float | None
    max_alpha: float | None = None

    def __str__(self) -> str:
        if self.threshold is None:
            return (
                f"the field is empty: max density {self.max_density:.3g}, and no ray has alpha 0.5 "
                f"(highest {self.max_alpha or 0:.2g}). {EMPTY_CURE}"
            )
        numbers = (
            f"max density {self.max_density:.3g}, threshold {self.threshold:.3g}, "
            f"{100 * self.opaque:.3g} % of the cells above it"
        )
        if self.kind == "empty":
            return f"the field is empty: {numbers}. {EMPTY_CURE}"
        if self.kind == "full":
            return f"the field is full: {numbers}, {100 * self.opaque_border:.3g} % of those on its faces. {FULL_CURE}"
        return f"the field has a surface: {numbers}"


@dataclass(frozen=True)
class Sounding:
    """What R rays find in a field: alpha, the largest density until half of the ray's light is gone (`front`; over all
    of the ray where less than half goes), and the largest density anywhere (`peak`), (R,) each."""

    alpha: Tensor
    front: Tensor
    peak: Tensor


def sound(grid: FieldGrid, *, views: int = 12, size: int = 36, samples: int = 72) -> Sounding:
    """Send rays into a field from all around, without gradients."""
    turn = torch.arange(views)
    cameras = Cameras(
        azimuth=turn * 137.5, elevation=torch.asin(torch.linspace(-0.9, 0.9, views)).rad2deg(),
        distance=torch.full((views,), 4.0), fov=torch.full((views,), 40.0),
    )  # fmt: skip
    origins, directions = cameras.rays(size, size)
    origins = origins.expand_as(directions).reshape(-1, 3).to(grid.density.device)
    directions = directions.reshape(-1, 3).to(grid.density.device)
    near, far = cube_span(origins, directions)
    length = ((far - near) / samples)[:, None]
    distance = near[:, None] + (torch.arange(samples, device=near.device) + 0.5) * length
    points = origins[:, None] + distance[..., None] * directions[:, None]
    density = trilinear(grid.density.float()[None], points)[0]  # (R, K)
    gone = torch.cumsum(density * length, dim=1)
    before = gone - density * length < math.log(2)  # the piece in which half is reached counts
    met = far > near
    return Sounding(
        alpha=(1 - torch.exp(-gone[:, -1])) * met,
        front=torch.where(before, density, 0.0).amax(1) * met,
        peak=density.amax(1) * met,
    )


def surface_density(found: Sounding, candidates: int = 100) -> float | None:
    """The density whose surface shows what renders show; None when no ray is half opaque.

    Of all levels L the one with the largest overlap between the rays that are at least half opaque and those that meet
    density L: before half of their light is gone if they are opaque, anywhere if they are not. Soft fields get a lower
    level than hard ones, so that walls have no holes.
    """
    opaque = found.alpha >= 0.5
    if not bool(opaque.any()):
        return None
    fronts, others = found.front[opaque].sort().values, found.peak[~opaque].sort().values
    levels = fronts[torch.linspace(0, len(fronts) - 1, candidates, device=fronts.device).long()] * (1 - 1e-6)
    right = len(fronts) - torch.searchsorted(fronts, levels, right=True)
    wrong = len(others) - torch.searchsorted(others, levels, right=True)
    return float(levels[(right / (len(fronts) + wrong)).argmax()])


def state_of(grid: FieldGrid, threshold: float | None = None) -> FieldState:
    """Whether a field has a surface at a density (None: `surface_density`). Raises NonFinite."""
    if not bool(torch.isfinite(grid.density).all() and torch.isfinite(grid.color).all()):
        raise NonFinite(
            "the field has values that are not finite, so it has no surface. Export an earlier checkpoint, or train "
            "again with a lower learning rate or train.clip=1.0"
        )
    highest = float(grid.density.max())
    if threshold is None:
        found = sound(grid)
        threshold = surface_density(found)
        if threshold is None or threshold <= 0:
            return FieldState("empty", highest, 0.0, 0.0, None, float(found.alpha.max()))
    above = grid.density > threshold
    faces = [above.select(axis, end) for axis in range(3) for end in (0, -1)]
    share, on_faces = float(above.float().mean()), float(torch.stack(faces).float().mean())
    kind: Literal["good", "empty", "full"] = "empty" if not bool(above.any()) else "full" if share > FULL else "good"
    return FieldState(kind, highest, share, on_faces, threshold)


@dataclass(frozen=True)
class Meshed:
    """A mesh (trimesh.Trimesh with vertex colours) and what happened on the way: how many pieces there were, how many
    of them were left out, and with how many faces."""

    mesh: Any
    state: FieldState
    pieces: int
    dropped_pieces: int
    dropped_faces: int
    warnings: tuple[str, ...] = field(default=())


def mesh_field(grid: FieldGrid, threshold: float | None = None, floaters: float = 0.01) -> Meshed:
    """The surface of a field.

    Marching cubes runs on 1 - 2^(-sigma/threshold), at 1/2: a float field in which the surface between an empty and a
    dense cell lies straighter than in sigma itself. A layer of empty cells around it closes what touches the faces.
    Vertices take the colour of the matter around them: interpolated with densities as weights.

    Args:
        threshold: density of the surface. None: the one that shows what renders show, `surface_density`.
        floaters: pieces whose volume is less than this share of the largest one's are left out. 0 keeps all, 1 only
            the largest.

    Raises:
        SceneCollapsed: the field is empty or full, or there is no face.
    """
    from skimage.measure import marching_cubes

    state = state_of(grid, threshold)
    if state.kind != "good" or state.threshold is None:
        raise SceneCollapsed(str(state))
    cell = grid.cell
    alpha = -torch.expm1(-math.log(2) * grid.density.double() / state.threshold)
    padded = np.pad(alpha.cpu().numpy(), 1)
    places, faces, _, _ = marching_cubes(padded, level=0.5, gradient_direction="descent")
    xyz = (places[:, ::-1] - 1) * cell - 1 + 0.5 * cell  # indices z, y, x of the padded grid -> the world
    xyz = np.clip(xyz, -1, 1)
    mesh = _trimesh(xyz, faces)
    mesh, pieces, dropped_pieces, dropped_faces = without_floaters(mesh, floaters)
    if not len(mesh.faces):
        raise SceneCollapsed(f"marching cubes found no face: {state}. {EMPTY_CURE}")
    mesh.visual.vertex_colors = _colors(grid, mesh.vertices)
    said = []
    if dropped_pieces:
        said.append(f"left out {dropped_pieces} of {pieces} pieces ({dropped_faces} faces) as floaters")
    if state.opaque_border > 0.02:
        said.append(
            f"the surface runs into the cube's faces ({100 * state.opaque_border:.0f} % of their cells are opaque); "
            "generator.border keeps it inside"
        )
    return Meshed(mesh, state, pieces, dropped_pieces, dropped_faces, tuple(said))


def scene_mesh(
    scene: FieldScene,
    *,
    cells: int | None = None,
    particle: int = 0,
    threshold: float | None = None,
    floaters: float = 0.01,
) -> Any:
    """The mesh of a scene, a trimesh.Trimesh: see `mesh_field`."""
    return mesh_field(scene.field(cells, particle), threshold, floaters).mesh


def without_floaters(mesh: Any, floaters: float) -> tuple[Any, int, int, int]:
    """The mesh without its small pieces; how many pieces there were, how many are gone, and with how many faces.

    Piece sizes are enclosed volumes; a cavity inside a piece (a piece turned inside out) has its own, and stays.
    """
    import trimesh

    labels = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    pieces = int(labels.max()) + 1 if len(labels) else 0
    if pieces <= 1 or floaters <= 0:
        return mesh, pieces, 0, 0
    corners = mesh.triangles
    signed = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    volume = np.abs(np.bincount(labels, weights=signed, minlength=pieces))
    kept = volume >= min(floaters, 1.0) * volume.max()
    chosen = kept[labels]
    left = mesh.submesh([np.flatnonzero(chosen)], append=True, repair=False)
    return left, pieces, int((~kept).sum()), int((~chosen).sum())


def _trimesh(vertices: Any, faces: Any) -> Any:
    import trimesh

    mesh = trimesh.Trimesh(vertices=vertices, faces=faces, process=False)
    mesh.merge_vertices()
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.remove_unreferenced_vertices()
    return mesh


def _colors(grid: FieldGrid, vertices: Any) -> Any:
    """Colours of vertices (V, 3), (V, 4) uint8, as they are on the screen (sRGB)."""
    points = torch.as_tensor(np.ascontiguousarray(vertices), dtype=torch.float64)
    density = grid.density.double().cpu() + 1e-9
    stacked = torch.cat([density[None], density * grid.color.double().cpu()])
    found = trilinear(stacked, points)
    rgb = (found[1:] / found[0]).clamp(0, 1)
    rgba = torch.cat([rgb, torch.ones_like(rgb[:1])]).T
    return (255 * rgba).round().to(torch.uint8).numpy()


def to_linear(srgb: Tensor) -> Tensor:
    """Light of colours on the screen, in [0, 1] both (IEC 61966-2-1): what glTF wants in COLOR_0."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


__all__ = [
    "FieldState", "Meshed", "SceneCollapsed", "Sounding", "mesh_field", "scene_mesh", "sound", "state_of",
    "surface_density", "to_linear", "without_floaters",
]  # fmt: skip
