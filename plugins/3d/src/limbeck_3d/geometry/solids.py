"""Captioned meshes: "a red torus", "a green cone on a blue box"; and meshes as the rasteriser takes them."""

from typing import Any

import numpy
import torch

from limbeck.errors import LimbeckError
from limbeck_3d.geometry.shapes import checked, fit, shape_mesh
from limbeck_3d.prompts.solids import BASES, Solid, parse
from limbeck_3d.prompts.words import COLOURS, MESHES, SHAPES
from limbeck_3d.rendering.rasterise import Surface


def build(scene: str | Solid) -> Any:
    """The coloured trimesh of a prompt or a scene. Raises for a prompt that describes none."""
    solid = parse(scene) if isinstance(scene, str) else scene
    if solid is None:
        raise LimbeckError(
            f"the prompt '{scene}' describes no mesh that could be built. It can be 'COLOUR SHAPE' or "
            f"'COLOUR SHAPE on COLOUR BASE', with shapes {', '.join((*SHAPES, *MESHES))} and bases {', '.join(BASES)}"
        )
    import trimesh

    pieces = []
    if solid.base is not None:
        base = _coloured(solid.base)
        base.apply_scale([1.0, 0.6, 1.0])  # a pedestal
        top = _coloured(solid)
        top.apply_translation([0, base.bounds[1, 1] - top.bounds[0, 1], 0])
        pieces = [top, base]
    else:
        pieces = [_coloured(solid)]
    mesh = pieces[0] if len(pieces) == 1 else trimesh.util.concatenate(pieces)
    part = numpy.concatenate([numpy.full(len(piece.faces), k) for k, piece in enumerate(pieces)])
    mesh = fit(mesh)
    mesh.metadata["part"] = part
    mesh.metadata["caption"] = solid.caption()
    return mesh


def _coloured(solid: Solid) -> Any:
    mesh = shape_mesh(solid.shape).copy()
    rgb = [round(255 * value) for value in COLOURS[solid.colour]]
    mesh.visual.face_colors = numpy.tile([*rgb, 255], (len(mesh.faces), 1)).astype(numpy.uint8)
    return mesh


def surface(mesh: Any, name: str = "mesh") -> Surface:
    """A trimesh for the rasteriser; vertex or face colours are kept, grey where there are none."""
    checked(mesh, name)
    colours = numpy.asarray(mesh.visual.face_colors)[:, :3] / 255
    part = mesh.metadata.get("part", numpy.zeros(len(mesh.faces)))
    return Surface(
        torch.as_tensor(numpy.array(mesh.vertices), dtype=torch.float32),
        torch.as_tensor(numpy.array(mesh.faces), dtype=torch.int64),
        torch.as_tensor(colours, dtype=torch.float32),
        torch.as_tensor(numpy.array(part), dtype=torch.int64),
    )


__all__ = ["build", "surface"]
