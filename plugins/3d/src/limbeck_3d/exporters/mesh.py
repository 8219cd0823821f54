"""Scenes as meshes: GLB, OBJ and PLY with vertex colours, and what is worth knowing about them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.export.folder import prepare
from limbeck.files import write_json, write_whole
from limbeck.networks.scenes import Scene
from limbeck_3d.exporters.gltf import glb
from limbeck_3d.exporters.scene import CONVENTION, check_particle, scene_of
from limbeck_3d.geometry.surface import Meshed, mesh_field
from limbeck_3d.options.exporters import MeshExportOptions
from limbeck_3d.scenes.base import FieldScene


def export_glb(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.glb with normals and vertex colours (as light, which is what glTF means by COLOR_0), and mesh.json."""
    return mesh_file(run, directory, "scene.glb", glb, options)


def export_obj(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.obj with colours behind the coordinates of its vertices (`v x y z r g b`), and mesh.json."""
    return mesh_file(run, directory, "scene.obj", _obj, options)


def export_ply(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.ply, binary, with vertex colours, and mesh.json."""
    return mesh_file(run, directory, "scene.ply", lambda mesh: mesh.export(file_type="ply"), options)


def meshed(scene: Scene, options: MeshExportOptions | None = None) -> Meshed:
    """The mesh of a scene, with the state of its field. Raises SceneCollapsed, NonFinite."""
    o = options or MeshExportOptions()
    if not isinstance(scene, FieldScene):
        raise LimbeckError(
            f"a {type(scene).__name__} fills no space, so it has no surface to mesh. Look at it with --to gif, or "
            "train generator: {use: 3d/voxels} or {use: 3d/splats}"
        )
    check_particle(scene, o.particle)
    return mesh_field(scene.field(o.cells, o.particle), o.threshold, o.floaters)


def mesh_file(
    run: Any, directory: Path | str, name: str, written: Callable[[Any], bytes], options: dict[str, Any]
) -> list[Path]:
    """The mesh of a run's scene as one file, and mesh.json."""
    chosen = MeshExportOptions(**options)
    made = meshed(scene_of(run), chosen)  # a scene without a surface leaves no folder behind
    directory = prepare(directory, chosen.overwrite)
    return [
        write_whole(directory / name, written(made.mesh)),
        write_json(directory / "mesh.json", summary(made)),
    ]


def summary(made: Meshed) -> dict[str, Any]:
    """What is worth knowing about a mesh, for mesh.json and the report."""
    mesh, state = made.mesh, made.state
    return {
        "convention": CONVENTION,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": bool(mesh.is_watertight),
        "bounds": [[round(float(value), 4) for value in corner] for corner in mesh.bounds],
        "threshold": round(state.threshold or 0.0, 4),
        "max_density": round(state.max_density, 4),
        "opaque_cells": round(state.opaque, 6),
        "pieces": made.pieces,
        "pieces_left_out": made.dropped_pieces,
        "faces_left_out": made.dropped_faces,
        "warnings": list(made.warnings),
    }


def _obj(mesh: Any) -> bytes:
    return mesh.export(file_type="obj", include_normals=True, include_color=True).encode("utf-8")


__all__ = ["export_glb", "export_obj", "export_ply", "mesh_file", "meshed", "summary"]
