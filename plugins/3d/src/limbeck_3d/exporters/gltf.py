"""Meshes as GLB: normals, vertex colours as light, a material that is paint."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def glb(mesh: Any) -> bytes:
    """A mesh as GLB: normals, and vertex colours as light."""
    import trimesh

    light = mesh.copy()
    colors = torch.as_tensor(light.visual.vertex_colors).double() / 255
    colors[:, :3] = to_linear(colors[:, :3])
    light.visual.vertex_colors = (255 * colors).round().to(torch.uint8).numpy()
    return trimesh.Scene({"scene": light}).export(file_type="glb", include_normals=True, tree_postprocessor=matte())


def to_linear(srgb: Tensor) -> Tensor:
    """Light of colours on the screen, in [0, 1] both (IEC 61966-2-1): what glTF wants in COLOR_0."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def matte(brightness: float = 1.0) -> Callable[[dict], None]:
    """Gives the meshes of a glTF tree a material: plain paint in the vertices' colours. Without one they are metal,
    glTF's default, and nearly black where there is nothing to be mirrored."""
    paint = {
        "name": "paint",
        "pbrMetallicRoughness": {
            "baseColorFactor": [brightness, brightness, brightness, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 1.0,
        },
    }

    def change(tree: dict) -> None:
        tree["materials"] = [paint]
        for mesh in tree["meshes"]:
            for primitive in mesh["primitives"]:
                primitive["material"] = 0

    return change


__all__ = ["glb", "matte", "to_linear"]
