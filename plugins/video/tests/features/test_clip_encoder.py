import pytest
import torch

from limbeck_video.features.clip_encoder import windows


def test_windows_are_cut_in_order_and_short_clips_are_refused():
    cut = windows(torch.arange(27).view(1, 27), 12)
    assert cut.shape == (1, 2, 12) and cut[0, 1, 0] == 12
    with pytest.raises(ValueError, match="clips of 11 frames are too short: motion is encoded in windows of 12"):
        windows(torch.zeros(1, 11), 12)
