import torch

from limbeck_3d.data.cameras import orbit_cameras
from limbeck_3d.options.cameras import CameraOptions


def test_every_eight_cameras_of_an_orbit_go_around_once_and_no_two_agree():
    cameras = orbit_cameras(48, CameraOptions())
    turns = cameras.azimuth.reshape(6, 8).sort(dim=1).values
    assert ((turns[:, 1:] - turns[:, :-1] - 45).abs() < 1e-3).all()
    assert len(cameras.elevation.unique()) == 3
    assert len(torch.stack([cameras.azimuth, cameras.elevation], dim=1).unique(dim=0)) == 48
