import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.metrics.label_accuracy import LabelAccuracy


@pytest.fixture(scope="module")
def real():
    """48 held-out clips."""
    return MovingDigits("held_out").batch(torch.arange(48))


def test_real_labels_are_detected_and_others_are_not(real):
    data = MovingDigits()
    assert LabelAccuracy()(real.x0, real.cond, data)["label_accuracy"] > 0.85
    assert LabelAccuracy()(real.x0, real.cond.flip(1), data)["label_accuracy"] > 0.85, "in any order"
    assert LabelAccuracy()(real.x0, (real.cond + 1) % 10, data)["label_accuracy"] < 0.1
    with pytest.raises(ValueError, match=r"two labels that every clip was made for, \(N, 2\); got \(48,\)"):
        LabelAccuracy()(real.x0, real.cond[:, 0], data)
