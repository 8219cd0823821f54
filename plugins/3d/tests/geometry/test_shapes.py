import numpy
import pytest

from limbeck_3d.geometry.shapes import RADIUS, blocks, shape_mesh
from limbeck_3d.prompts.words import SHAPES


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_closed_centred_and_fits(shape):
    mesh = shape_mesh(shape)
    assert mesh.is_watertight and mesh.volume > 0.05
    numpy.testing.assert_allclose(mesh.bounds.mean(axis=0), 0, atol=1e-6)
    assert numpy.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(RADIUS)


def test_shapes_have_the_volumes_that_their_formulas_give():
    # in the units of the fitted sphere of radius 0.8
    edge = 2 * 0.8 / 3**0.5
    assert shape_mesh("box").volume == pytest.approx(edge**3, rel=1e-6)
    assert shape_mesh("sphere").volume == pytest.approx(4 / 3 * numpy.pi * 0.8**3, rel=0.01)
    cell = 0.8 / numpy.linalg.norm([1.5, 0.5, 0.5])
    assert shape_mesh("cross").volume == pytest.approx(5 * cell**3, rel=1e-6)


def test_things_stand_upright_and_a_chair_looks_to_the_front():
    cone = shape_mesh("cone").vertices
    assert numpy.linalg.norm(cone[cone[:, 1].argmax(), [0, 2]]) < 1e-6  # the tip is up
    torus = shape_mesh("torus").extents
    assert torus[1] < 0.5 * torus[0]  # it lies
    chair = shape_mesh("chair").vertices
    assert chair[chair[:, 1] > chair[:, 1].max() - 1e-6][:, 2].max() < 0  # the rest is at the back, -z


def test_blocks_leave_out_the_faces_between_cells():
    mesh = blocks([(0, 0, 0), (1, 0, 0)], (1.0, 2.0, 3.0))
    assert mesh.is_watertight and mesh.volume == pytest.approx(12) and len(mesh.faces) == 20
