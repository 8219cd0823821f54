import sys

import numpy
import pytest
import trimesh

from limbeck.errors import LimbeckError
from limbeck_3d.geometry.shapes import shape_mesh
from limbeck_3d.geometry.solids import build, surface
from limbeck_3d.prompts.words import COLOURS


def test_a_mesh_carries_its_caption():
    for prompt in ("a red torus", "a red torus on a blue box"):
        assert build(prompt).metadata["caption"] == prompt


def test_what_cannot_be_built_is_refused_with_what_can():
    with pytest.raises(LimbeckError, match=r"describes no mesh.*COLOUR SHAPE on COLOUR BASE"):
        build("box red")


def test_what_stands_on_a_base_touches_it_and_both_keep_their_colours():
    mesh = build("a red cone on a blue box")
    part = mesh.metadata["part"]
    corners = mesh.vertices[mesh.faces]
    assert corners[part == 0][..., 1].min() == pytest.approx(corners[part == 1][..., 1].max(), abs=1e-6)
    for which, colour in ((0, "red"), (1, "blue")):
        seen = mesh.visual.face_colors[part == which][:, :3]
        assert (seen == numpy.round(255 * numpy.array(COLOURS[colour]))).all() and len(seen) > 10


def test_a_mesh_with_nan_or_without_faces_is_refused_by_name():
    broken = trimesh.creation.box()
    broken.vertices = numpy.where(numpy.arange(8)[:, None] == 3, numpy.nan, broken.vertices)
    with pytest.raises(LimbeckError, match="the mesh 'teapot' has 1 vertices that are not finite"):
        surface(broken, "teapot")
    with pytest.raises(LimbeckError, match="the mesh 'dust' has no faces"):
        surface(trimesh.Trimesh(numpy.zeros((3, 3))), "dust")


def test_a_mesh_of_an_extra_that_is_not_installed_names_the_command(monkeypatch):
    shape_mesh.cache_clear()
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(LimbeckError, match=r"'airplane' comes with pyvista.*pip install 'limbeck-3d\[meshes\]'"):
        build("a grey airplane")


@pytest.mark.parametrize("shape", ["airplane", "ant", "nut"])
def test_the_meshes_of_pyvista_become_prompts(shape):
    pytest.importorskip("pyvista", reason="limbeck-3d[meshes] is not installed")
    mesh = build(f"a grey {shape}")
    assert len(mesh.faces) > 100 and numpy.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(0.8)
