"""Sections of reports of scenes: the asset itself, and what the teacher sees of it."""

import base64
import copy
import html
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import CheckpointError, LimbeckError
from limbeck.interfaces import unwrap
from limbeck.networks.scenes import Scene
from limbeck.pictures.grids import image_grid
from limbeck.randomness import Rng
from limbeck_3d.exporters import mesh as exporters, splats as splat_file, viewer
from limbeck_3d.options.exporters import TurntableOptions
from limbeck_3d.report import teacher_predictions as debugging
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.voxels import FieldScene

SMALL_TURN = TurntableOptions(views=24, size=192, render_size=64)


@dataclass(frozen=True)
class Fragment:
    """A title and HTML that needs nothing outside itself."""

    title: str
    body: str

    def html(self) -> str:
        return self.body


def asset(run: Any) -> Fragment | None:
    """The mesh in a viewer, a turntable, and files to save; or why there is no mesh. None for runs without a scene."""
    scene = _scene(run)
    if scene is None:
        return None
    name = exporters.name_of(run)
    parts, files = [], []
    if isinstance(scene, FieldScene):
        try:
            made = exporters.meshed(scene)
        except LimbeckError as error:
            parts.append(f"<p><strong>No mesh:</strong> {html.escape(str(error))}</p>")
        else:
            facts = exporters.summary(made)
            said = [
                f"{facts['faces']:,} faces, {'watertight' if facts['watertight'] else 'not watertight'}",
                f"surface at density {facts['threshold']:.3g} (maximum {facts['max_density']:.3g})",
                *facts["warnings"],
            ]
            parts.append(viewer.frame(made.mesh, name))
            parts.append(f'<p class="caption">Drag to turn, scroll to zoom. {html.escape("; ".join(said))}.</p>')
            files.append(("scene.glb", "model/gltf-binary", exporters.glb(made.mesh)))
    gif = exporters.turntable_gif(scene, SMALL_TURN)
    parts.append(
        f'<p><img src="{_data("image/gif", gif)}" width="{SMALL_TURN.size}" height="{SMALL_TURN.size}" '
        f'alt="turntable of {html.escape(name)}"></p>'
    )
    files.append(("turntable.gif", "image/gif", gif))
    if isinstance(scene, Splats):
        files.append(("splats.ply", "application/octet-stream", splat_file.encoded(scene.gaussians())))
    links = ", ".join(
        f'<a download="{file}" href="{_data(kind, data)}">{file}</a> ({len(data) / 1024:,.0f} KB)'
        for file, kind, data in files
    )
    parts.append(f'<p class="caption">Save: {links}.</p>')
    return Fragment("The asset", "\n".join(parts))


def teachers_view(run: Any) -> Fragment | None:
    """Renders from four sides, noised, and what the teacher makes of them in one step and in many."""
    scene, teacher = _scene(run), run.built.teacher
    if scene is None or teacher is None:
        return None
    device = next((p.device for p in teacher.parameters()), torch.device("cpu"))
    cond = _conditions(run)
    seen = debugging.what_the_teacher_sees(scene.to(device), teacher, debugging.four_sides(cond))
    rows = [
        f'<tr><th scope="row">t = {time:.2f}</th>'
        + "".join(f"<td>{_strip(part[level])}</td>" for part in (seen.noised, seen.one_step, seen.many_steps))
        + "</tr>"
        for level, time in enumerate(seen.times)
    ]
    guided = getattr(teacher, "scale", None)
    told = f"guidance {guided:g}, " if isinstance(guided, int | float) else ""
    return Fragment(
        "What the teacher sees",
        f"<p>Rendered from four sides:</p>{_strip(seen.rendered)}"
        f'<div class="scroll"><table><thead><tr><th></th><th scope="col">noised</th><th scope="col">one step</th>'
        f'<th scope="col">{debugging.STEPS} steps</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="caption">The same noise at three levels; {told}predictions of clean images by the run\'s teacher. '
        "A teacher that wants something else than is rendered pulls the scene there; one that wants the same thing "
        "from every side makes a scene with many fronts.</p>",
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _scene(run: Any) -> Scene | None:
    """A copy of the run's scene, on the CPU: the run goes on with its own. None without scene or checkpoint."""
    if not isinstance(unwrap(run.built.generator), Scene):
        return None
    try:
        return copy.deepcopy(unwrap(run.generator())).cpu().eval()
    except CheckpointError:
        return None


def _conditions(run: Any) -> Any:
    built, rng = run.built, Rng(0, phase="panel")
    if built.data is not None:
        return built.data.conditions(64, rng)
    return built.source.batch(64, rng).cond


def _strip(images: Tensor) -> str:
    if images.shape[1] not in (1, 3):  # latents without a decoder: their first channels
        images = images[:, :3]
    return image_grid(images, columns=len(images), cell=64).html()


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


__all__ = ["Fragment", "asset", "teachers_view"]
