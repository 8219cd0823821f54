"""Scenes leave as ordinary artefacts: GLB, OBJ and PLY meshes, splat PLY, a turntable GIF, a page to turn them in.

An exporter is `exporter(run, directory, **options) -> list of files`. All take the weights of the run's last good
checkpoint, and refuse a folder that holds something, unless asked to overwrite. Everything lies in one convention:
right-handed, +y up, the front looks along +z, the scene in [-1, 1]^3.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limbeck.errors import LimbeckError, NonFinite
from limbeck.export.exporters import prepare
from limbeck.interfaces import unwrap
from limbeck.networks.scenes import Scene
from limbeck_3d.exporters import splats as splat_file, turntable, viewer
from limbeck_3d.options.exporters import MeshExportOptions, SplatExportOptions, TurntableOptions
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.surface import Meshed, mesh_field, to_linear
from limbeck_3d.scenes.voxels import FieldScene, ImageScene

CONVENTION = "right-handed, +y up, front looks along +z, scene in [-1, 1]^3"


def export_glb(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.glb with normals and vertex colours (as light, which is what glTF means by COLOR_0), and mesh.json."""
    return _mesh_file(run, directory, "scene.glb", glb, options)


def export_obj(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.obj with colours behind the coordinates of its vertices (`v x y z r g b`), and mesh.json."""
    return _mesh_file(run, directory, "scene.obj", _obj, options)


def export_ply(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """scene.ply, binary, with vertex colours, and mesh.json."""
    return _mesh_file(run, directory, "scene.ply", lambda mesh: mesh.export(file_type="ply"), options)


def export_viewer(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """viewer.html: the mesh in a page that turns it, three.js inside, no network; and mesh.json."""
    name = name_of(run)
    return _mesh_file(run, directory, "viewer.html", lambda mesh: viewer.page(mesh, name).encode("utf-8"), options)


def export_splat(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """splats.ply: the Gaussians, in the format of 3DGS."""
    chosen = SplatExportOptions(**options)
    scene = scene_of(run)
    if not isinstance(scene, Splats):
        raise LimbeckError(
            f"the exporter 'splat' writes Gaussians, and the scene is {type(scene).__name__}. Export a mesh: --to glb; "
            "or train generator: {use: 3d/splats}"
        )
    _check_particle(scene, chosen.particle)
    scene.check()
    path = prepare(directory, chosen.overwrite) / "splats.ply"
    path.write_bytes(splat_file.encoded(scene.gaussians(chosen.particle)))
    return [path]


def export_gif(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """turntable.gif: the scene seen from all around."""
    chosen = TurntableOptions(**options)
    scene = scene_of(run)
    _check_particle(scene, chosen.particle)
    path = prepare(directory, chosen.overwrite) / "turntable.gif"
    path.write_bytes(turntable_gif(scene, chosen))
    return [path]


# --- from a scene ----------------------------------------------------------------------------------------------------


def turntable_gif(scene: Scene, options: TurntableOptions | None = None) -> bytes:
    """A GIF of a scene that turns once."""
    o = options or TurntableOptions()
    cond = turntable.views(
        1 if isinstance(scene, ImageScene) else o.views, elevation=o.elevation, distance=o.distance, fov=o.fov
    )
    seen = turntable.render(
        scene, cond, size=min(o.render_size, o.size), background=(o.background,) * 3, particle=o.particle
    )
    if not bool(torch.isfinite(seen.image).all()):
        raise NonFinite("the scene renders values that are not finite. Export an earlier checkpoint")
    return turntable.gif(turntable.frames(seen.image, o.size))


def meshed(scene: Scene, options: MeshExportOptions | None = None) -> Meshed:
    """The mesh of a scene, with the state of its field. Raises SceneCollapsed, NonFinite."""
    o = options or MeshExportOptions()
    if not isinstance(scene, FieldScene):
        raise LimbeckError(
            f"a {type(scene).__name__} fills no space, so it has no surface to mesh. Look at it with --to gif, or "
            "train generator: {use: 3d/voxels} or {use: 3d/splats}"
        )
    _check_particle(scene, o.particle)
    return mesh_field(scene.field(o.cells, o.particle), o.threshold, o.floaters)


def glb(mesh: Any) -> bytes:
    """A mesh as GLB: normals, and vertex colours as light."""
    import trimesh

    light = mesh.copy()
    colors = torch.as_tensor(light.visual.vertex_colors).double() / 255
    colors[:, :3] = to_linear(colors[:, :3])
    light.visual.vertex_colors = (255 * colors).round().to(torch.uint8).numpy()
    return trimesh.Scene({"scene": light}).export(
        file_type="glb", include_normals=True, tree_postprocessor=viewer.matte()
    )


def _obj(mesh: Any) -> bytes:
    return mesh.export(file_type="obj", include_normals=True, include_color=True).encode("utf-8")


def scene_of(run: Any) -> Scene:
    """The scene with the weights of the last good checkpoint, on the CPU."""
    scene = unwrap(run.generator())
    if not isinstance(scene, Scene):
        raise LimbeckError(
            f"this exporter writes scenes; the generator of this run is {type(scene).__name__}. For one that fits: "
            "limbeck list exporters"
        )
    return scene.cpu().eval()


# --- files -----------------------------------------------------------------------------------------------------------


def _mesh_file(
    run: Any, directory: Path | str, name: str, written: Callable[[Any], bytes], options: dict[str, Any]
) -> list[Path]:
    chosen = MeshExportOptions(**options)
    made = meshed(scene_of(run), chosen)  # a scene without a surface leaves no folder behind
    directory = prepare(directory, chosen.overwrite)
    paths = [directory / name, directory / "mesh.json"]
    paths[0].write_bytes(written(made.mesh))
    paths[1].write_text(json.dumps(summary(made), indent=2) + "\n", encoding="utf-8")
    return paths


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


def _check_particle(scene: Any, particle: int) -> None:
    count = getattr(scene, "particles", 1)
    if particle >= count:
        raise LimbeckError(f"particle {particle} of a scene with {count}; give one from 0 to {count - 1}")


def name_of(run: Any) -> str:
    """Name of a run's recipe, or of its folder."""
    return str(getattr(run.recipe, "name", None) or Path(run.path).name)


__all__ = [
    "CONVENTION", "export_gif", "export_glb", "export_obj", "export_ply", "export_splat", "export_viewer", "glb",
    "meshed", "name_of", "scene_of", "summary", "turntable_gif",
]  # fmt: skip
