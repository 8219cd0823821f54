"""Brightness on paper."""

import pytest
import torch

from limbeck_video.metrics.flicker import flicker, ink


def test_ink_is_the_mean_brightness():
    clip = torch.full((1, 3, 1, 4, 4), -1.0)
    clip[0, 1, 0, :2] = 1.0
    clip[0, 2] = 0.0
    torch.testing.assert_close(ink(clip), torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.float64))


def test_flicker_is_twice_the_amplitude_of_alternating_brightness():
    level = 0.4 * (1 + 0.3 * torch.tensor([1.0, -1.0] * 6))
    clip = (2 * level - 1).view(1, 12, 1, 1, 1).expand(1, 12, 1, 5, 5)
    assert float(flicker(clip)) == pytest.approx(0.6, rel=1e-6)
    even = (2 * torch.linspace(0.1, 0.9, 12) - 1).view(1, 12, 1, 1, 1).expand(1, 12, 1, 5, 5)
    assert float(flicker(even)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="both its neighbours; got clips of 2 frames"):
        flicker(clip[:, :2])
