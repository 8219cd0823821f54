"""From a field to a mesh, by marching cubes, with the colours of the matter around its vertices.

World and meshes share one convention: right-handed, +y up, the front looks along +z; the scene lies in [-1, 1]^3.
Letters: N cells per side, V vertices, F faces.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from limbeck_3d.geometry.field import FieldGrid
from limbeck_3d.geometry.repair import clean_mesh, without_floaters
from limbeck_3d.geometry.state import EMPTY_HINT, FieldState, SceneCollapsed, state_of
from limbeck_3d.rendering.volume import trilinear


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
    mesh = clean_mesh(xyz, faces)
    mesh, pieces, dropped_pieces, dropped_faces = without_floaters(mesh, floaters)
    if not len(mesh.faces):
        raise SceneCollapsed(f"marching cubes found no face: {state}. {EMPTY_HINT}")
    mesh.visual.vertex_colors = _colors(grid, mesh.vertices)
    warnings = []
    if dropped_pieces:
        warnings.append(f"left out {dropped_pieces} of {pieces} pieces ({dropped_faces} faces) as floaters")
    if state.opaque_border > 0.02:
        warnings.append(
            f"the surface runs into the cube's faces ({100 * state.opaque_border:.0f} % of their cells are opaque); "
            "generator.border keeps it inside"
        )
    return Meshed(mesh, state, pieces, dropped_pieces, dropped_faces, tuple(warnings))


def _colors(grid: FieldGrid, vertices: Any) -> Any:
    """Colours of vertices (V, 3), (V, 4) uint8, as they are on the screen (sRGB)."""
    points = torch.as_tensor(np.ascontiguousarray(vertices), dtype=torch.float64)
    density = grid.density.double().cpu() + 1e-9
    stacked = torch.cat([density[None], density * grid.color.double().cpu()])
    found = trilinear(stacked, points)
    rgb = (found[1:] / found[0]).clamp(0, 1)
    rgba = torch.cat([rgb, torch.ones_like(rgb[:1])]).T
    return (255 * rgba).round().to(torch.uint8).numpy()


__all__ = ["Meshed", "mesh_field"]
