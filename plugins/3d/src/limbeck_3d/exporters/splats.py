"""Splats as the PLY file of Kerbl et al. 2023, which the viewers of Gaussian splats read.

Binary, little-endian, a float per property: x y z, nx ny nz (zero), f_dc_0..2 (spherical harmonics of degree 0),
opacity (a logit), scale_0..2 (logs), rot_0..3 (a quaternion, w first). The world is ours: +y up, front on +z.
"""

from pathlib import Path

import numpy as np
import torch

from limbeck.errors import LimbeckError
from limbeck_3d.rendering.splatting import SH0, Gaussians

PROPERTIES = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


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


__all__ = ["PROPERTIES", "encoded", "read"]
