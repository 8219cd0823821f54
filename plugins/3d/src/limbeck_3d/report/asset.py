"""The panel `asset`: the mesh of a scene in a viewer, a turntable, files to save."""

import html
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.pictures.encoding import data_uri
from limbeck.report import Fragment
from limbeck_3d.exporters import mesh, splats, viewer
from limbeck_3d.exporters.gltf import glb
from limbeck_3d.exporters.scene import name_of
from limbeck_3d.exporters.turntable import turntable_gif
from limbeck_3d.options.exporters import TurntableOptions
from limbeck_3d.report.scene import scene_copy
from limbeck_3d.scenes.base import FieldScene
from limbeck_3d.scenes.splats import Splats

SMALL_TURN = TurntableOptions(views=24, size=192, render_size=64)


def asset(run: Any) -> Fragment | None:
    """The mesh in a viewer, a turntable, and files to save; or why there is no mesh. None for runs without a scene."""
    scene = scene_copy(run)
    if scene is None:
        return None
    name = name_of(run)
    parts, files = [], []
    if isinstance(scene, FieldScene):
        try:
            made = mesh.meshed(scene)
        except LimbeckError as error:
            parts.append(f"<p><strong>No mesh:</strong> {html.escape(str(error))}</p>")
        else:
            facts = mesh.summary(made)
            caption = [
                f"{facts['faces']:,} faces, {'watertight' if facts['watertight'] else 'not watertight'}",
                f"surface at density {facts['threshold']:.3g} (maximum {facts['max_density']:.3g})",
                *facts["warnings"],
            ]
            parts.append(viewer.frame(made.mesh, name))
            parts.append(f'<p class="caption">Drag to turn, scroll to zoom. {html.escape("; ".join(caption))}.</p>')
            files.append(("scene.glb", "model/gltf-binary", glb(made.mesh)))
    gif = turntable_gif(scene, SMALL_TURN)
    parts.append(
        f'<p><img src="{data_uri("image/gif", gif)}" width="{SMALL_TURN.size}" height="{SMALL_TURN.size}" '
        f'alt="turntable of {html.escape(name)}"></p>'
    )
    files.append(("turntable.gif", "image/gif", gif))
    if isinstance(scene, Splats):
        files.append(("splats.ply", "application/octet-stream", splats.encoded(scene.gaussians())))
    links = ", ".join(
        f'<a download="{file}" href="{data_uri(kind, data)}">{file}</a> ({len(data) / 1024:,.0f} KB)'
        for file, kind, data in files
    )
    parts.append(f'<p class="caption">Save: {links}.</p>')
    return Fragment("The asset", "\n".join(parts))


__all__ = ["asset"]
