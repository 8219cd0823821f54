import torch

from limbeck.conditions import Conditions
from limbeck_3d.data.cameras import orbit_cameras
from limbeck_3d.options.cameras import CameraOptions
from limbeck_3d.views.renders import renders


def test_renders_are_shown_eight_in_a_row_with_their_angles():
    cameras = orbit_cameras(9, CameraOptions())
    cond = Conditions(azimuth=cameras.azimuth, elevation=cameras.elevation)
    bare = renders(torch.zeros(9, 3, 8, 8))
    labelled = renders(torch.zeros(9, 3, 8, 8), cond)
    assert bare.count == 9 and bare.image.width == 8 * 68 + 4 and labelled.image.height == bare.image.height + 2 * 12
