import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.metrics.label_accuracy import LabelAccuracy
from limbeck_video.metrics.trajectory import TrajectoryError


@pytest.fixture(scope="module")
def real():
    """48 held-out clips."""
    return MovingDigits("held_out").batch(torch.arange(48))


def shuffled(clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([clip[torch.randperm(len(clip), generator=generator)] for clip in clips])


def test_real_digits_are_on_their_paths_and_shuffled_ones_are_not(real):
    data = MovingDigits()
    honest = TrajectoryError()(real.x0, real.cond, data)["trajectory_error"]
    assert honest < 0.4, "pixels: the error of detection in one frame"
    assert TrajectoryError()(shuffled(real.x0), None, data)["trajectory_error"] > 1.5
    long = MovingDigits("held_out", frames=26).batch(torch.arange(12)).x0
    assert TrajectoryError()(long, None, data)["trajectory_error"] < 0.5, "windows of a long clip"


def test_clips_without_digits_are_refused(real):
    large = real.x0[:2].repeat_interleave(2, 3).repeat_interleave(2, 4).expand(-1, -1, 3, -1, -1)
    for metric in (TrajectoryError(), LabelAccuracy()):
        with pytest.raises(ValueError, match=r"detects digits in grey clips of 20x20 .* got \(2, 12, 3, 40, 40\)"):
            metric(large, real.cond[:2], MovingDigits())
