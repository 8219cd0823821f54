"""Long rollouts: frozen and empty clips are counted, the curve grows where frames get worse."""

import pytest
import torch
from streaming import Model, Streams

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.metrics import drift as module
from limbeck_video.metrics.drift import Drift, drift_curve, motion_energy

REAL = 24  # clips


@pytest.fixture(autouse=True)
def plain_features(monkeypatch):
    """Mean and spread of every frame: what the curve does is then known without a network."""

    def features(clips):
        frames = clips.double().flatten(2)
        return torch.stack([frames.mean(2), frames.std(2)], dim=-1)

    monkeypatch.setattr(module, "frame_features", features)
    monkeypatch.setattr(module, "thinned", lambda clips: clips)


def real(frames=12):
    return MovingDigits("held_out", frames=frames).batch(torch.arange(REAL)).x0


def test_motion_energy_is_the_mean_change():
    clip = torch.zeros(2, 3, 1, 2, 2)
    clip[0, 1], clip[0, 2] = 0.5, -0.5
    torch.testing.assert_close(motion_energy(clip), torch.tensor([0.75, 0.0], dtype=torch.float64))


def test_a_still_clip_is_frozen_and_a_black_one_empty_in_the_window_where_it_is():
    clips = real(36)
    clips[0, 12:24] = clips[0, 12]  # one stands still in the second window
    clips[1, 24:] = -1.0  # one goes out in the third: empty, and nothing moves in the dark
    clips[2, 24:] = -1.0
    curve = drift_curve(clips, real(), 12)
    assert curve.frozen.tolist() == pytest.approx([0, 1 / REAL, 2 / REAL])
    assert curve.empty.tolist() == pytest.approx([0, 0, 2 / REAL])


def test_real_clips_that_go_on_neither_freeze_nor_empty():
    curve = drift_curve(real(60), real(), 12)
    assert len(curve.distance) == 5 and float(curve.frozen.max()) == float(curve.empty.max()) == 0


def test_growth_is_that_of_the_worst_window_over_the_first():
    clips = real(12).repeat(1, 3, 1, 1, 1)
    for window, shift in enumerate((0.1, 0.3, 0.2)):
        clips[:, 12 * window : 12 * (window + 1)] += shift  # moves the mean feature, nothing else
    curve = drift_curve(clips, real(), 12)
    torch.testing.assert_close(curve.distance, torch.tensor([0.01, 0.09, 0.04]), rtol=1e-4, atol=1e-6)
    assert curve.growth == pytest.approx(8.0, rel=1e-3)
    assert drift_curve(clips[:, 12:24], real(), 12).growth == 0


def test_the_metric_names_its_windows_and_skips_models_that_do_not_stream():
    metric = Drift(frames=36, window=12, clips=8)
    found = metric(Model(), None, MovingDigits(), sampler=Streams(brighter=0.2), steps=4)
    assert set(found) == {"drift", "frozen", "empty", "frames_1_12", "frames_13_24", "frames_25_36"}
    assert found["frames_25_36"] > found["frames_13_24"] > found["frames_1_12"] and found["frozen"] == 0
    assert found["drift"] == pytest.approx(found["frames_25_36"] / found["frames_1_12"] - 1)
    assert metric(Model(), None, MovingDigits(), sampler=None) == {}
    held = metric.real_curve(MovingDigits())
    assert held is not None and len(held.distance) == 3
