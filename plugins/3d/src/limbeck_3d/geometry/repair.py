"""Meshes without what marching cubes and training leave behind: double vertices, faces without area, floaters."""

from typing import Any

import numpy as np


def clean_mesh(vertices: Any, faces: Any) -> Any:
    """A trimesh.Trimesh of vertices (V, 3) and faces (F, 3): equal vertices merged, faces without area left out."""
    import trimesh

    mesh = trimesh.Trimesh(vertices=vertices, faces=faces, process=False)
    mesh.merge_vertices()
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.remove_unreferenced_vertices()
    return mesh


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


__all__ = ["clean_mesh", "without_floaters"]
