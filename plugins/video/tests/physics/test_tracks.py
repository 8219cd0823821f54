"""Paths of bouncing bodies from places alone: exact where the motion is, far where it is not."""

import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.physics import tracks


def places(count=100, frames=12, seed=0):
    """True places of held-out clips, (N, F, 2, 2), the two in random order in every frame."""
    true = MovingDigits("held_out").motion(torch.arange(count)).positions(frames).transpose(1, 2).float()
    generator = torch.Generator().manual_seed(seed)
    swap = torch.rand(count, frames, generator=generator) < 0.5
    return torch.where(swap[..., None, None], true.flip(2), true), generator


def test_true_paths_are_found_whatever_the_order_of_the_two():
    found, _ = places()
    positions, ordered = tracks.fit(found)
    assert float((positions - ordered).norm(dim=-1).max()) < 1e-3
    true = MovingDigits("held_out").motion(torch.arange(100)).positions(12).transpose(1, 2).float()
    off = torch.stack([(positions - t).norm(dim=-1).amax((1, 2)) for t in (true, true.flip(2))]).amin(0)
    assert float((off < 1e-2).float().mean()) > 0.97  # two bodies that meet may swap their paths from there on


def test_noise_of_reading_is_all_that_is_left():
    found, generator = places()
    noisy = found + 0.2 * torch.randn(found.shape, generator=generator)
    # of 24 numbers a path takes 4 away: 0.2 sqrt(pi / 2) sqrt(20 / 24), the mean length of what is left
    assert float(tracks.distances(noisy).mean()) == pytest.approx(0.2 * 1.2533 * (20 / 24) ** 0.5, rel=0.1)


def test_wrong_places_do_not_pull_a_path():
    found, generator = places(60)
    wrong = torch.zeros(60, 12, dtype=torch.bool)
    wrong[:, 4] = True  # in one frame the first of the two is read anywhere
    broken = torch.where(wrong[..., None], 12 * torch.rand(60, 12, 2, generator=generator), found[:, :, 0])
    broken = torch.stack([broken, found[:, :, 1]], dim=2)
    positions, _ = tracks.fit(broken)
    other = torch.stack([(positions - t).norm(dim=-1) for t in (found, found.flip(2))]).amin(0)  # (N, F, 2)
    assert float(other.mean()) < 0.1


def test_shuffled_frames_and_jumps_are_far_from_every_path():
    found, generator = places()
    order = torch.stack([torch.randperm(12, generator=generator) for _ in range(100)])
    shuffled = found.gather(1, order[:, :, None, None].expand_as(found))
    assert float(tracks.distances(shuffled).mean()) > 1.8
    jumped = torch.cat([found[:, :6], found.roll(1, dims=0)[:, 6:]], dim=1)
    assert float(tracks.distances(jumped).mean()) > 0.8


def test_a_still_body_is_on_a_path_and_one_frame_is_enough():
    found, _ = places(10)
    still = found[:, :1].expand(-1, 12, -1, -1).contiguous()
    assert float(tracks.distances(still).max()) < 1e-3
    assert float(tracks.distances(found[:, :1]).max()) < 1e-5
