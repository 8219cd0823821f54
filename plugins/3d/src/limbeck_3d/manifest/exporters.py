"""Manifest entries of views, panels and exporters of scenes. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_3d.options.exporters"


def _mesh(name: str, attribute: str, summary: str) -> Component:
    options = f"{_OPTIONS}:MeshExportOptions"
    return Component(
        "exporter", name, f"limbeck_3d.exporters.{attribute}", summary=summary, options=options, modality="3d"
    )


COMPONENTS = [
    Component(
        "view",
        "renders",
        "limbeck_3d.views.renders:renders",
        summary="a grid of renders, eight in a row, with the cameras' angles",
        modality="3d",
    ),
    _mesh("glb", "mesh:export_glb", "mesh with vertex colours as GLB, for browsers, engines and Blender"),
    _mesh("obj", "mesh:export_obj", "mesh with vertex colours as OBJ"),
    _mesh("ply", "mesh:export_ply", "mesh with vertex colours as PLY"),
    _mesh("viewer", "viewer:export_viewer", "a page that shows the mesh and turns it, without any network"),
    Component(
        "exporter",
        "splat",
        "limbeck_3d.exporters.splats:export_splat",
        summary="Gaussians as the PLY of 3D Gaussian splatting, which viewers of splats load",
        options=f"{_OPTIONS}:SplatExportOptions",
        modality="3d",
        reference="Kerbl et al. 2023",
    ),
    Component(
        "exporter",
        "gif",
        "limbeck_3d.exporters.turntable:export_gif",
        summary="a turntable: the scene from all around as a GIF",
        options=f"{_OPTIONS}:TurntableOptions",
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
        "limbeck_3d.report.teacher_predictions:teachers_view",
        summary="renders, noised, and the teacher's predictions for them",
        modality="3d",
    ),
]
