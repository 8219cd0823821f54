"""A scene of coloured blocks, and a run of it as exporters need one."""

import math
from types import SimpleNamespace

import torch

from limbeck_3d.scenes.voxels import Voxels

RED, GREEN, BLUE, YELLOW = (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9), (0.9, 0.9, 0.1)
TIPS = {(0.75, 0, 0): RED, (0, 0.75, 0): GREEN, (0, 0, 0.75): BLUE}


def run_of(scene, name="a toy"):
    return SimpleNamespace(
        generator=lambda: scene, recipe=SimpleNamespace(name=name), built=SimpleNamespace(generator=scene), path="toy"
    )


def places(cells):
    line = (torch.arange(cells) + 0.5) * 2 / cells - 1
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return x, y, z


def block_scene(cells=24, floater=False):
    """A grey block with a red one on its right (+x), a green one on top (+y) and a blue one in front (+z)."""
    scene = Voxels(grid=cells, size=24, samples=32).eval()
    x, y, z = places(cells)
    blocks = [((0, 0, 0), 0.25, (0.5,) * 3), ((0.5, 0, 0), 0.25, RED), ((0, 0.5, 0), 0.25, GREEN)]
    blocks += [((0, 0, 0.5), 0.25, BLUE)] + ([((-0.8, -0.8, -0.8), 0.1, YELLOW)] if floater else [])
    with torch.no_grad():
        scene.density.fill_(-10.0)
        for (cx, cy, cz), half, rgb in blocks:
            inside = ((x - cx).abs() < half) & ((y - cy).abs() < half) & ((z - cz).abs() < half)
            scene.density[0][inside] = 20.0
            for channel in range(3):
                scene.color[0, channel][inside] = math.log(rgb[channel] / (1 - rgb[channel]))
    return scene
