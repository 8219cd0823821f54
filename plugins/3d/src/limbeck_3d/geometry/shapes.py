"""The shapes of solids as meshes: trimesh's, stacked blocks, and the meshes that come with pyvista.

Everything stands upright (+y up), faces +z, is centred, and fits the sphere of radius 0.8 around the origin.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy

from limbeck.errors import LimbeckError
from limbeck_3d.prompts.words import MESHES, SHAPES

RADIUS = 0.8


def checked(mesh: Any, name: str) -> Any:
    """The mesh, or an error that names it when it has no faces or vertices that are not finite."""
    if len(mesh.faces) == 0:
        raise LimbeckError(f"the mesh '{name}' has no faces: nothing can be rendered. Give a surface, not points")
    if not numpy.isfinite(mesh.vertices).all():
        bad = int((~numpy.isfinite(mesh.vertices)).any(axis=1).sum())
        raise LimbeckError(f"the mesh '{name}' has {bad} vertices that are not finite: repair or export it again")
    return mesh


def fit(mesh: Any, radius: float = RADIUS) -> Any:
    """A copy with the middle of its bounding box at the origin and its farthest vertex at `radius`."""
    mesh = mesh.copy()
    mesh.vertices = mesh.vertices - mesh.bounds.mean(axis=0)
    mesh.vertices = mesh.vertices * (radius / numpy.linalg.norm(mesh.vertices, axis=1).max())
    return mesh


def blocks(cells: Iterable[tuple[int, int, int]], size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Any:
    """The closed surface of unit cells (i, j, k), stretched by `size`: faces between two cells are left out."""
    import trimesh

    taken = set(cells)
    sides = [(axis, end) for axis in range(3) for end in (0, 1)]
    quads = []
    for cell in sorted(taken):
        for axis, end in sides:
            neighbour = list(cell)
            neighbour[axis] += 2 * end - 1
            if tuple(neighbour) in taken:
                continue
            u, v = (axis + 1) % 3, (axis + 2) % 3
            corner = numpy.array(cell, dtype=float)
            corner[axis] += end
            du, dv = numpy.eye(3)[u], numpy.eye(3)[v]
            around = [corner, corner + du, corner + du + dv, corner + dv]
            quads.append(around if end else around[::-1])
    vertices = numpy.array(quads).reshape(-1, 3) * numpy.array(size)
    first = 4 * numpy.arange(len(quads))[:, None]
    faces = numpy.concatenate([first + numpy.array(corners) for corners in ([0, 1, 2], [0, 2, 3])])
    return trimesh.Trimesh(vertices, faces, process=True)


def _chair() -> Any:
    legs = [(i, j, k) for i in (0, 3) for j in (0, 1, 2) for k in (0, 3)]
    seat = [(i, 3, k) for i in range(4) for k in range(4)]
    rest = [(i, j, 0) for i in range(4) for j in (4, 5, 6)]  # at the back: -z
    return blocks([*legs, *seat, *rest], (1.0, 0.9, 1.0))


def _cross() -> Any:
    return blocks([(1, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (1, 2, 0)])


@cache
def shape_mesh(shape: str) -> Any:
    """The fitted mesh of one shape, upright. Do not change it: it is kept."""
    import trimesh
    from trimesh import creation

    def upright(mesh: Any) -> Any:  # trimesh's axis is +z
        return mesh.apply_transform(trimesh.transformations.rotation_matrix(-numpy.pi / 2, [1, 0, 0]))

    match shape:
        case "sphere":
            mesh = creation.icosphere(subdivisions=3)
        case "box":
            mesh = creation.box([1.0, 1.0, 1.0])
        case "cylinder":
            mesh = upright(creation.cylinder(radius=0.5, height=1.3, sections=40))
        case "cone":
            mesh = upright(creation.cone(radius=0.6, height=1.3, sections=40))
        case "torus":
            mesh = upright(creation.torus(0.62, 0.24, major_sections=40, minor_sections=20))
        case "capsule":
            mesh = upright(creation.capsule(height=1.0, radius=0.4, count=[24, 24]))
        case "cross":
            mesh = _cross()
        case "pyramid":
            mesh = upright(creation.cone(radius=0.85, height=1.1, sections=4))
            mesh.apply_transform(trimesh.transformations.rotation_matrix(numpy.pi / 4, [0, 1, 0]))
        case "chair":
            mesh = _chair()
        case _ if shape in MESHES:
            mesh = _from_pyvista(shape)
        case _:
            raise LimbeckError(f"no shape '{shape}'; known: {', '.join((*SHAPES, *MESHES))}")
    return fit(checked(mesh, shape))


def _from_pyvista(name: str) -> Any:
    try:
        from pyvista import examples
    except ImportError as error:
        raise LimbeckError(
            f"the mesh '{name}' comes with pyvista, which is not installed. pip install 'limbeck-3d[meshes]'"
        ) from error
    import trimesh

    loaded = getattr(examples, f"load_{name}")().triangulate()
    mesh = trimesh.Trimesh(numpy.asarray(loaded.points), loaded.faces.reshape(-1, 4)[:, 1:], process=True)
    turn = trimesh.transformations.rotation_matrix
    for angle, axis in POSES[name]:
        mesh.apply_transform(turn(numpy.deg2rad(angle), axis))
    return mesh


# how each is turned to stand upright and look to the front
POSES: dict[str, tuple[tuple[float, tuple[int, int, int]], ...]] = {
    "airplane": ((-90, (1, 0, 0)),),
    "ant": (),
    "nut": (),
}


__all__ = ["RADIUS", "blocks", "checked", "fit", "shape_mesh"]
