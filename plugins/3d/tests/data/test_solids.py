import sys

import numpy
import pytest
import trimesh

from limbeck.errors import LimbeckError
from limbeck_3d.data import solids
from limbeck_3d.data.captions import COLOURS, SHAPES


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_closed_centred_and_fits(shape):
    mesh = solids.shape_mesh(shape)
    assert mesh.is_watertight and mesh.volume > 0.05
    numpy.testing.assert_allclose(mesh.bounds.mean(axis=0), 0, atol=1e-6)
    assert numpy.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(solids.RADIUS)


def test_shapes_have_the_volumes_that_their_formulas_say():
    # in the units of the fitted sphere of radius 0.8
    edge = 2 * 0.8 / 3**0.5
    assert solids.shape_mesh("box").volume == pytest.approx(edge**3, rel=1e-6)
    assert solids.shape_mesh("sphere").volume == pytest.approx(4 / 3 * numpy.pi * 0.8**3, rel=0.01)
    cell = 0.8 / numpy.linalg.norm([1.5, 0.5, 0.5])
    assert solids.shape_mesh("cross").volume == pytest.approx(5 * cell**3, rel=1e-6)


def test_things_stand_upright_and_a_chair_looks_to_the_front():
    cone = solids.shape_mesh("cone").vertices
    assert numpy.linalg.norm(cone[cone[:, 1].argmax(), [0, 2]]) < 1e-6  # the tip is up
    torus = solids.shape_mesh("torus").extents
    assert torus[1] < 0.5 * torus[0]  # it lies
    chair = solids.shape_mesh("chair").vertices
    assert chair[chair[:, 1] > chair[:, 1].max() - 1e-6][:, 2].max() < 0  # the rest is at the back, -z


def test_prompts_and_scenes_say_the_same():
    for prompt in (
        "a red torus",
        "an orange sphere",
        "a red torus on a blue box",
        "a cyan cross on an orange cylinder",
    ):
        solid = solids.parse(prompt)
        assert solid is not None and solid.caption() == prompt
        assert solids.build(prompt).metadata["caption"] == prompt


def test_known_words_that_make_no_scene_have_no_mesh_and_building_it_says_what_would():
    assert solids.parse("red on box") is None and solids.parse("a red chair on a blue box") is None
    with pytest.raises(LimbeckError, match=r"describes no mesh.*COLOUR SHAPE on COLOUR BASE"):
        solids.build("box red")


def test_what_stands_on_a_base_touches_it_and_both_keep_their_colours():
    mesh = solids.build("a red cone on a blue box")
    part = mesh.metadata["part"]
    corners = mesh.vertices[mesh.faces]
    assert corners[part == 0][..., 1].min() == pytest.approx(corners[part == 1][..., 1].max(), abs=1e-6)
    for which, colour in ((0, "red"), (1, "blue")):
        seen = mesh.visual.face_colors[part == which][:, :3]
        assert (seen == numpy.round(255 * numpy.array(COLOURS[colour]))).all() and len(seen) > 10


def test_blocks_leave_out_the_faces_between_cells():
    mesh = solids.blocks([(0, 0, 0), (1, 0, 0)], (1.0, 2.0, 3.0))
    assert mesh.is_watertight and mesh.volume == pytest.approx(12) and len(mesh.faces) == 20


def test_a_mesh_with_nan_or_without_faces_is_refused_by_name():
    broken = trimesh.creation.box()
    broken.vertices = numpy.where(numpy.arange(8)[:, None] == 3, numpy.nan, broken.vertices)
    with pytest.raises(LimbeckError, match="the mesh 'teapot' has 1 vertices that are not finite"):
        solids.surface(broken, "teapot")
    with pytest.raises(LimbeckError, match="the mesh 'dust' has no faces"):
        solids.surface(trimesh.Trimesh(numpy.zeros((3, 3))), "dust")


def test_a_mesh_of_an_extra_that_is_not_installed_names_the_command(monkeypatch):
    solids.shape_mesh.cache_clear()
    monkeypatch.setitem(sys.modules, "pyvista", None)
    with pytest.raises(LimbeckError, match=r"'airplane' comes with pyvista.*pip install 'limbeck-3d\[meshes\]'"):
        solids.build("a grey airplane")


@pytest.mark.parametrize("shape", ["airplane", "ant", "nut"])
def test_the_meshes_of_pyvista_become_prompts(shape):
    pytest.importorskip("pyvista", reason="limbeck-3d[meshes] is not installed")
    mesh = solids.build(f"a grey {shape}")
    assert len(mesh.faces) > 100 and numpy.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(0.8)
