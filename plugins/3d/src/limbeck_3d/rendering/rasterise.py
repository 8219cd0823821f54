"""Meshes seen through cameras: a z-buffer in torch, without gradients, for data, true silhouettes and pictures.

Letters: V vertices, F faces, B cameras, S samples along the side of a picture (size times supersampling), K candidate
samples (pairs of a face and a sample in its bounding box). Cameras and pixels are those of
`limbeck.networks.scenes.Cameras`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.networks.scenes import Cameras

LIGHT = (0.5, 0.75, 0.43)  # where the light comes from, in the world: front, right and above
AMBIENT = 0.45  # shade of a face that looks away from the light
CHUNK = 4_000_000  # candidate samples held at once


@dataclass(frozen=True)
class Surface:
    """A mesh as tensors: vertices (V, 3) float, faces (F, 3) int64, colours (F, 3) in [0, 1], part (F,) int64."""

    vertices: Tensor
    faces: Tensor
    colours: Tensor
    part: Tensor

    def normals(self) -> Tensor:
        """Unit normals of the faces, (F, 3); zero for faces without area."""
        a, b, c = self.vertices[self.faces].unbind(1)
        return functional.normalize(torch.cross(b - a, c - a, dim=-1), dim=-1)


@dataclass(frozen=True)
class Picture:
    """colour (B, 3, H, W) in [0, 1], premultiplied by alpha (B, 1, H, W); depth (B, 1, H, W), mean distance along the
    ray of what is hit (0 where nothing is); shade (B, parts, H, W), light on each part times its coverage."""

    colour: Tensor
    alpha: Tensor
    depth: Tensor
    shade: Tensor


def over(colour: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """An image in [-1, 1] from premultiplied colour in [0, 1] (B, 3, H, W), alpha (B, 1, H, W) and background (B, 3)
    in [-1, 1]."""
    return 2 * colour - alpha + (1 - alpha) * background[:, :, None, None]


def shading(normals: Tensor, view: Tensor, light: Literal["world", "camera"] = "world") -> Tensor:
    """Wrapped Lambert shading in [AMBIENT, 1]: AMBIENT + (1 - AMBIENT) (1 + n.l) / 2.

    normals (F, 3) on either side of the face, view (B, F, 3) from the faces to the cameras; returns (B, F). Normals are
    turned to the camera first, so that meshes with mixed winding are lit as well.
    """
    facing = (normals * view).sum(-1, keepdim=True)
    turned = torch.where(facing < 0, -normals, normals.expand_as(view))
    if light == "camera":
        towards = functional.normalize(view, dim=-1)
    else:
        towards = functional.normalize(torch.tensor(LIGHT, dtype=normals.dtype), dim=0).expand_as(view)
    return AMBIENT + (1 - AMBIENT) * 0.5 * (1 + (turned * towards).sum(-1))


def rasterise(
    surface: Surface,
    cameras: Cameras,
    size: int,
    *,
    supersample: int = 2,
    light: Literal["world", "camera"] = "world",
    parts: int = 1,
) -> Picture:
    """Pictures (B, ..., size, size) of a mesh, box-filtered from `supersample` samples along each side of a pixel.

    Faces in front of the cameras only: everything must lie within the cameras' spheres. Flat shading.
    """
    chunks = [
        _some(surface, cameras, rows, size, supersample, light, parts)
        for rows in torch.arange(len(cameras)).split(_rows(surface, cameras, size * supersample))
    ]
    return Picture(*(torch.cat([getattr(c, name) for c in chunks]) for name in ("colour", "alpha", "depth", "shade")))


def _rows(surface: Surface, cameras: Cameras, side: int) -> int:
    """Cameras at a time: bounding boxes of all faces of one view hold some three times the picture's samples."""
    return max(1, CHUNK // (3 * side * side + 4 * len(surface.faces)))


def _some(surface, cameras, rows, size, supersample, light, parts) -> Picture:
    cameras = Cameras(
        azimuth=cameras.azimuth[rows], elevation=cameras.elevation[rows],
        distance=cameras.distance[rows], fov=cameras.fov[rows],
    )  # fmt: skip
    count, side = len(rows), size * supersample
    seen = torch.einsum("bvi,bij->bvj", surface.vertices[None] - cameras.position()[:, None], cameras.axes())
    depth = -seen[..., 2]  # (B, V), along the optical axis
    if bool((depth <= 1e-3).any()):
        raise ValueError(
            "a mesh reaches the camera: scale it into the unit sphere (limbeck_3d.geometry.shapes.fit) or step back"
        )
    focal = cameras.focal(side)[:, None]
    x = focal * seen[..., 0] / depth + 0.5 * side
    y = 0.5 * side - focal * seen[..., 1] / depth
    corners = torch.stack([x, y, 1 / depth], dim=-1)[:, surface.faces]  # (B, F, 3, 3): 1 / depth is linear on screen
    winner, near = _z_buffer(corners.reshape(-1, 3, 3), count, side)

    faces = len(surface.faces)
    hit = winner >= 0
    face = winner.clamp_min(0) % faces
    centres = surface.vertices[surface.faces].mean(dim=1)
    shade = shading(surface.normals(), cameras.position()[:, None] - centres, light)  # (B, F)
    lit = torch.where(hit, shade.gather(1, face), 0.0)  # (B, S * S)
    colour = (surface.colours[face] * lit[..., None]).transpose(1, 2)
    which = surface.part[face]
    shades = torch.stack([torch.where(which == part, lit, 0.0) for part in range(parts)], dim=1)
    # depth along the ray, not along the axis
    _, directions = cameras.rays(side, side)
    cosine = -(directions * cameras.axes()[:, None, None, :, 2]).sum(-1).flatten(1)
    distance = torch.where(hit, 1 / (near.clamp_min(1e-6) * cosine), 0.0)

    def shrunk(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values.reshape(count, -1, side, side), supersample)

    alpha = shrunk(hit.to(lit.dtype))
    return Picture(shrunk(colour), alpha, shrunk(distance) / alpha.clamp_min(1e-6) * (alpha > 0), shrunk(shades))


def _z_buffer(corners: Tensor, count: int, side: int) -> tuple[Tensor, Tensor]:
    """The nearest face at every sample.

    corners (B * F, 3, 3): x, y in samples and 1 / depth. Returns the index of the face in B * F, or -1, and 1 / depth
    (0 where nothing is), both (B, side * side).
    """
    views = torch.arange(count).repeat_interleave(len(corners) // count)
    low = (corners[:, :, :2].amin(1) - 0.5).ceil().clamp(0, side).long()  # first sample centre inside the box
    high = (corners[:, :, :2].amax(1) - 0.5).floor().clamp(-1, side - 1).long()
    width, height = (high - low + 1).clamp_min(0).unbind(1)
    boxes = width * height
    face = torch.arange(len(corners)).repeat_interleave(boxes)  # (K,)
    start = boxes.cumsum(0) - boxes
    inside = torch.arange(len(face)) - start[face]
    column, row = inside % width[face] + low[face, 0], inside // width[face] + low[face, 1]

    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (corners[:, k].unbind(-1) for k in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    flat = area.abs() < 1e-12
    scale = torch.where(flat, 0.0, 1 / torch.where(flat, 1.0, area))

    # barycentric coordinates and 1 / depth are affine in x and y: value + x * dx + y * dy, per face
    ub = torch.stack([(cy - ay), -(cx - ax), ay * (cx - ax) - ax * (cy - ay)], dim=1) * scale[:, None]  # of corner b
    uc = torch.stack([-(by - ay), (bx - ax), ax * (by - ay) - ay * (bx - ax)], dim=1) * scale[:, None]  # of corner c
    z = ub * (bz - az)[:, None] + uc * (cz - az)[:, None]
    z[:, 2] += az
    planes = torch.cat([ub, uc, z], dim=1)[face]  # (K, 9)
    px, py = column + 0.5, row + 0.5
    b = planes[:, 0] * px + planes[:, 1] * py + planes[:, 2]
    c = planes[:, 3] * px + planes[:, 4] * py + planes[:, 5]
    covered = (b >= 0) & (c >= 0) & (b + c <= 1) & ~flat[face]
    near = planes[:, 6] * px + planes[:, 7] * py + planes[:, 8]

    # one number orders by nearness and then names the face: nearness in the upper bits
    kept = covered.nonzero().flatten()
    face, near = face[kept], near[kept]
    place = views[face] * side * side + row[kept] * side + column[kept]
    key = ((near.clamp(1e-6, 1e3) * 2**20).long() << 31) | face
    best = torch.full((count * side * side,), -1, dtype=torch.int64).scatter_reduce(0, place, key, "amax")
    winner = torch.where(best >= 0, best & (2**31 - 1), -1)
    depth = torch.where(best >= 0, (best >> 31).to(corners.dtype) / 2**20, 0.0)
    return winner.reshape(count, -1), depth.reshape(count, -1)


__all__ = ["Picture", "Surface", "over", "rasterise", "shading"]
