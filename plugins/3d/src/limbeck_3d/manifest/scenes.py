"""The part of the manifest that is about scenes and what becomes of them. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_3d.options.scenes"
_EXPORT = "limbeck_3d.options.exporters"
_SCENE = {"sampling", "renders"}


def _mesh(name: str, summary: str) -> Component:
    return Component(
        "exporter",
        name,
        f"limbeck_3d.exporters.mesh:export_{name}",
        summary=summary,
        options=f"{_EXPORT}:MeshExportOptions",
        modality="3d",
    )


SCENES = [
    Component(
        "generator",
        "image",
        "limbeck_3d.scenes.voxels:ImageScene",
        summary="an image as the scene: the parameter is the picture, the camera changes nothing",
        options=f"{_OPTIONS}:ImageSceneOptions",
        modality="3d",
        can=_SCENE,
    ),
    Component(
        "generator",
        "voxels",
        "limbeck_3d.scenes.voxels:Voxels",
        summary="a grid of densities and colours, by differentiable volume rendering",
        options=f"{_OPTIONS}:VoxelOptions",
        modality="3d",
        example={"grid": 8, "samples": 8},
        can=_SCENE,
        reference="Mildenhall et al. 2020 (rendering), Sun et al. 2022 (dense grids)",
    ),
    Component(
        "generator",
        "splats",
        "limbeck_3d.scenes.splats:Splats",
        summary="Gaussians in space, by splatting in plain torch or by gsplat",
        options=f"{_OPTIONS}:SplatOptions",
        modality="3d",
        example={"count": 16},
        can=_SCENE,
        reference="Kerbl et al. 2023",
    ),
    _mesh("glb", "mesh with vertex colours as GLB, for browsers, engines and Blender"),
    _mesh("obj", "mesh with vertex colours as OBJ"),
    _mesh("ply", "mesh with vertex colours as PLY"),
    _mesh("viewer", "a page that shows the mesh and turns it, without any network"),
    Component(
        "exporter",
        "splat",
        "limbeck_3d.exporters.mesh:export_splat",
        summary="Gaussians as the PLY that viewers of splats read",
        options=f"{_EXPORT}:SplatExportOptions",
        modality="3d",
        reference="Kerbl et al. 2023",
    ),
    Component(
        "exporter",
        "gif",
        "limbeck_3d.exporters.mesh:export_gif",
        summary="a turntable: the scene from all around as a GIF",
        options=f"{_EXPORT}:TurntableOptions",
        modality="3d",
    ),
    Component(
        "callback",
        "collapse",
        "limbeck_3d.callbacks.collapse:Collapse",
        summary="says early that a field became empty or full, with what to change",
        options=f"{_OPTIONS}:CollapseOptions",
        modality="3d",
    ),
    Component(
        "panel",
        "asset",
        "limbeck_3d.report.asset:asset",
        summary="the mesh in a viewer, a turntable, files",
        modality="3d",
    ),
    Component(
        "panel",
        "teachers_view",
        "limbeck_3d.report.asset:teachers_view",
        summary="renders, noised, and what the teacher makes of them",
        modality="3d",
    ),
]
