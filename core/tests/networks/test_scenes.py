"""Cameras: where they stand, which way is up, and through which pixels their rays go."""

import math

import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.networks.scenes import Cameras


def cameras(*angles, distance=3.0, fov=40.0):
    """Cameras at (azimuth, elevation) in degrees; float64."""
    azimuth, elevation = torch.tensor(angles, dtype=torch.float64).unbind(1)
    return Cameras(
        azimuth=azimuth, elevation=elevation,
        distance=torch.full_like(azimuth, distance), fov=torch.full_like(azimuth, fov),
    )  # fmt: skip


MANY = cameras(*[(azimuth, elevation) for azimuth in range(-180, 190, 37) for elevation in (-90, -60, 0, 25, 89, 90)])


@pytest.mark.parametrize(
    ("angles", "place"),
    [
        ((0, 0), (0, 0, 3)),  # front
        ((90, 0), (3, 0, 0)),  # right side
        ((180, 0), (0, 0, -3)),
        ((-90, 0), (-3, 0, 0)),
        ((0, 90), (0, 3, 0)),  # from above
        ((0, -90), (0, -3, 0)),
        ((45, 30), (3 * math.cos(math.pi / 6) * math.sqrt(0.5), 1.5, 3 * math.cos(math.pi / 6) * math.sqrt(0.5))),
    ],
)
def test_azimuth_turns_from_the_front_to_the_right_and_elevation_rises(angles, place):
    torch.testing.assert_close(
        cameras(angles).position()[0], torch.tensor(place, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_axes_are_orthonormal_and_right_handed_even_overhead():
    axes = MANY.axes()
    identity = torch.eye(3, dtype=torch.float64).expand(len(MANY), 3, 3)
    torch.testing.assert_close(axes.transpose(1, 2) @ axes, identity, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(len(MANY), dtype=torch.float64))
    right, up, back = axes.unbind(2)
    torch.testing.assert_close(back, MANY.position() / 3, atol=1e-12, rtol=0)
    assert float(right[:, 1].abs().max()) == 0, "the horizon is level"
    assert bool((up[:, 1] >= -1e-12).all()), "up is up"


def test_the_middle_ray_goes_through_the_origin():
    origins, directions = MANY.rays(5, 7)  # an odd number of pixels has one in the middle
    assert origins.shape == (len(MANY), 1, 1, 3) and directions.shape == (len(MANY), 5, 7, 3)
    reached = origins[:, 0, 0] + 3 * directions[:, 2, 3]
    torch.testing.assert_close(reached, torch.zeros_like(reached), atol=1e-12, rtol=0)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones_like(directions[..., 0]))


def test_rows_run_downwards_and_columns_to_the_right():
    _, directions = cameras((0, 0)).rays(4, 4)
    assert bool((directions[0, 0, :, 1] > 0).all()) and bool((directions[0, 3, :, 1] < 0).all())
    assert bool((directions[0, :, 0, 0] < 0).all()) and bool((directions[0, :, 3, 0] > 0).all())
    _, from_the_right = cameras((90, 0)).rays(4, 4)
    assert bool((from_the_right[0, :, 3, 2] < 0).all()), "from +x, right is -z"


def test_the_field_of_view_is_the_vertical_one_between_the_edges_of_the_image():
    # pixel centres lie half a pixel inside: at height h the outermost is at (h - 1)/h of tan(fov/2)
    one = cameras((0, 0), fov=60.0)
    _, directions = one.rays(8, 16)
    top = directions[0, 0, 7]
    assert float(top[1] / -top[2]) == pytest.approx(7 / 8 * math.tan(math.radians(30)))
    assert float(one.focal(8)) == pytest.approx(4 / math.tan(math.radians(30)))
    wide = directions[0, 3, 15]
    assert float(wide[0] / -wide[2]) == pytest.approx(15 / 8 * math.tan(math.radians(30))), "square pixels"


def test_cameras_are_found_among_conditions_and_a_missing_angle_is_named():
    azimuth, fov = torch.tensor([10.0, 20.0]), torch.full((2,), 40.0)
    cond = Conditions(
        azimuth=azimuth, elevation=torch.zeros(2), distance=torch.ones(2), fov=fov, text=torch.zeros(2, 3)
    )
    assert len(Cameras.of(cond)) == 2 and Cameras.of(cond).azimuth.tolist() == [10.0, 20.0]
    with pytest.raises(KeyError, match="no condition 'fov'"):
        Cameras.of(Conditions(azimuth=torch.zeros(1), elevation=torch.zeros(1), distance=torch.zeros(1)))
