"""Distances of clips: on paper, and what real, blurred, shuffled and frozen clips get."""

import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.metrics.frechet import FrameFrechet, MotionFrechet, distance


@pytest.fixture(scope="module")
def real():
    """48 held-out clips."""
    return MovingDigits("held_out").batch(torch.arange(48))


def shuffled(clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([clip[torch.randperm(len(clip), generator=generator)] for clip in clips])


def test_distance_of_shifted_and_scaled_features_is_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 12, 3, generator=generator, dtype=torch.float64)
    shift, scale = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 3.0
    # the same Gaussian moved and scaled: |m_a - m_b|^2 + (scale - 1)^2 tr S
    rows = features.flatten(0, 1)
    mean, trace = rows.mean(0), rows.var(0).sum()
    expected = (mean - (scale * mean + shift)).square().sum() + (scale - 1) ** 2 * trace
    assert distance(features, scale * features + shift) == pytest.approx(float(expected), rel=1e-9)
    assert distance(features, features + shift) == pytest.approx(5.25, rel=1e-9)


def test_frame_distance_sees_blur_and_not_the_order_of_frames(real):
    metric, data = FrameFrechet(clips=80), MovingDigits()
    honest = metric(real.x0, None, data)
    same = metric(real.x0[:24], None, data)
    assert honest["frame_frechet_ratio"] == pytest.approx(honest["frame_frechet"] / honest["frame_frechet_real"])
    # the floor takes equally many held-out clips, evenly spaced, so real clips come out near one
    assert 0.6 < honest["frame_frechet_ratio"] < 1.6 and 0.6 < same["frame_frechet_ratio"] < 1.6
    assert same["frame_frechet_real"] > honest["frame_frechet_real"], "few clips are farther away, real ones too"
    order = metric(shuffled(real.x0), None, data)
    assert order["frame_frechet"] == pytest.approx(honest["frame_frechet"], rel=1e-3)
    soft = torch.nn.functional.avg_pool2d(real.x0.flatten(0, 1), 3, 1, 1).view_as(real.x0)
    assert metric(soft, None, data)["frame_frechet_ratio"] > 2


def test_motion_distance_sees_the_order_of_frames(real):
    metric, data = MotionFrechet(clips=80), MovingDigits()
    honest = metric(real.x0, None, data)
    assert 0.6 < honest["motion_frechet_ratio"] < 1.6
    assert metric(shuffled(real.x0), None, data)["motion_frechet_ratio"] > 3 * honest["motion_frechet_ratio"]
    frozen = real.x0[:, :1].expand_as(real.x0).contiguous()
    assert metric(frozen, None, data)["motion_frechet_ratio"] > 1.4 * honest["motion_frechet_ratio"]
