"""Distances in decibels against values known on paper."""

import math

import pytest
import torch
from sounds_by_hand import Fixed, level

from limbeck_audio.metrics.spectral import LogSpectralDistance, log_spectral_distance, nearest_in_decibels


def test_log_spectral_distance_of_levels_is_their_difference_in_decibels():
    assert log_spectral_distance(level(0.1), level(-0.1)).item() == pytest.approx(7.0, rel=1e-5)  # 0.2 * 35 dB
    # half the mels off by 10 dB in a quarter of the frames: sqrt(1/2) * 10 / 4
    other = level(0.0)
    other[:, :, :32, :16] += 10 / 35
    assert log_spectral_distance(level(0.0), other).item() == pytest.approx(10 * math.sqrt(0.5) / 4, rel=1e-5)
    # root mean square within a frame, plain mean over frames
    stripes = level(0.0)
    stripes[..., ::2] += 0.1
    assert log_spectral_distance(level(0.0), stripes).item() == pytest.approx(1.75, rel=1e-5)


def test_the_nearest_clip_counts_and_a_copy_is_at_zero():
    pool = torch.cat([level(-1.0), level(0.0), level(0.4)])
    found = nearest_in_decibels(torch.cat([level(0.1), level(0.4), level(-0.9)]), pool)
    torch.testing.assert_close(found, torch.tensor([3.5, 0.0, 3.5]), rtol=1e-4, atol=1e-4)


def test_only_clips_of_the_same_word_are_compared():
    data = Fixed(torch.cat([level(0.0), level(0.2)]), torch.cat([level(0.5), level(-0.5)]), torch.tensor([0, 1]))
    found = LogSpectralDistance()(level(0.2, 2), torch.tensor([0, 1]), data)
    assert found["log_spectral_distance"] == pytest.approx((7.0 + 0.0) / 2, abs=1e-4)
    assert found["log_spectral_distance_held_out"] == pytest.approx((0.3 * 35 + 0.7 * 35) / 2, rel=1e-4)
    unlabelled = LogSpectralDistance()(level(0.2, 2), None, data)
    assert unlabelled["log_spectral_distance"] == pytest.approx(0.0, abs=1e-4)
