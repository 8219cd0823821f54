"""Splats as the PLY file of Kerbl et al. 2023, which the viewers of Gaussian splats read.

Binary, little-endian, a float per property: x y z, nx ny nz (zero), f_dc_0..2 (spherical harmonics of degree 0),
opacity (a logit), scale_0..2 (logs), rot_0..3 (a quaternion, w first). The world is ours: +y up, front on +z.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck.export.folder import prepare
from limbeck.files import write_whole
from limbeck_3d.exporters.scene import check_particle, scene_of
from limbeck_3d.options.exporters import SplatExportOptions
from limbeck_3d.rendering.splatting import SH0, Gaussians
from limbeck_3d.scenes.splats import Splats

PROPERTIES = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


def export_splat(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """splats.ply: the Gaussians, in the format of 3DGS."""
    chosen = SplatExportOptions(**options)
    scene = scene_of(run)
    if not isinstance(scene, Splats):
        raise LimbeckError(
            f"the exporter 'splat' writes Gaussians, and the scene is {type(scene).__name__}. Export a mesh: --to glb; "
            "or train generator: {use: 3d/splats}"
        )
    check_particle(scene, chosen.particle)
    scene.check()
    path = prepare(directory, chosen.overwrite) / "splats.ply"
    return [write_whole(path, encoded(scene.gaussians(chosen.particle)))]


def encoded(gaussians: Gaussians) -> bytes:
    """The file of Gaussians with three colours. Raises on values that are not finite."""
    with torch.no_grad():
        opacity = gaussians.opacity.double().clamp(1e-6, 1 - 1e-6)
        columns = [
            gaussians.means.double(),
            torch.zeros_like(gaussians.means, dtype=torch.float64),
            (gaussians.rgb.double() - 0.5) / SH0,
            opacity.logit()[:, None],
            gaussians.scales.double().log(),
            torch.nn.functional.normalize(gaussians.quaternions.double(), dim=-1),
        ]
        table = torch.cat([column.cpu() for column in columns], dim=1)
    if not bool(torch.isfinite(table).all()):
        raise LimbeckError(
            "some Gaussians have values that are not finite and were not written. Export an earlier checkpoint, or "
            "train again with a lower learning rate"
        )
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in PROPERTIES] + ["end_header", ""]
    return "\n".join(header).encode("ascii") + table.numpy().astype("<f4").tobytes()


def read(path: Path) -> Gaussians:
    """Read what `encoded` made."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").split("\n")
    names = [line.split()[-1] for line in lines if line.startswith("property float")]
    if "format binary_little_endian 1.0" not in lines or tuple(names) != PROPERTIES:
        raise LimbeckError(f"{path} is no PLY of splats with the properties {', '.join(PROPERTIES)}")
    table = torch.from_numpy(np.frombuffer(body, dtype="<f4").reshape(-1, len(PROPERTIES)).copy())
    return Gaussians(
        means=table[:, 0:3],
        quaternions=table[:, 13:17],
        scales=table[:, 10:13].exp(),
        opacity=table[:, 9].sigmoid(),
        rgb=0.5 + SH0 * table[:, 6:9],
    )


__all__ = ["PROPERTIES", "encoded", "export_splat", "read"]
