"""Metrics of clips: formulas on paper, and what real, blurred, shuffled and mislabelled clips get."""

import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.features import readers
from limbeck_video.metrics import trajectory as metrics
from limbeck_video.metrics.trajectory import FrameFrechet, LabelAccuracy, MotionFrechet, TrajectoryError


@pytest.fixture(scope="module")
def real():
    """48 held-out clips."""
    return MovingDigits("held_out").batch(torch.arange(48))


def shuffled(clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([clip[torch.randperm(len(clip), generator=generator)] for clip in clips])


# --- formulas --------------------------------------------------------------------------------------------------------


def test_distance_of_shifted_and_scaled_features_is_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 12, 3, generator=generator, dtype=torch.float64)
    shift, scale = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 3.0
    # the same Gaussian moved and scaled: |m_a - m_b|^2 + (scale - 1)^2 tr S
    rows = features.flatten(0, 1)
    mean, trace = rows.mean(0), rows.var(0).sum()
    expected = (mean - (scale * mean + shift)).square().sum() + (scale - 1) ** 2 * trace
    assert metrics.distance(features, scale * features + shift) == pytest.approx(float(expected), rel=1e-9)
    assert metrics.distance(features, features + shift) == pytest.approx(5.25, rel=1e-9)


def test_ink_is_the_mean_brightness():
    clip = torch.full((1, 3, 1, 4, 4), -1.0)
    clip[0, 1, 0, :2] = 1.0
    clip[0, 2] = 0.0
    torch.testing.assert_close(metrics.ink(clip), torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.float64))


def test_flicker_is_twice_the_amplitude_of_alternating_brightness():
    level = 0.4 * (1 + 0.3 * torch.tensor([1.0, -1.0] * 6))
    clip = (2 * level - 1).view(1, 12, 1, 1, 1).expand(1, 12, 1, 5, 5)
    assert float(metrics.flicker(clip)) == pytest.approx(0.6, rel=1e-6)
    even = (2 * torch.linspace(0.1, 0.9, 12) - 1).view(1, 12, 1, 1, 1).expand(1, 12, 1, 5, 5)
    assert float(metrics.flicker(even)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="both its neighbours; got clips of 2 frames"):
        metrics.flicker(clip[:, :2])


def test_the_likeliest_pair_adds_frames_up_and_ignores_who_is_who():
    chances = torch.full((1, 3, 2, 10), 0.01)
    chances[0, 0, 0, 4] = chances[0, 0, 1, 7] = 0.9
    chances[0, 1, 0, 7] = chances[0, 1, 1, 4] = 0.9  # the other way round
    chances[0, 2, 0, 1] = chances[0, 2, 1, 7] = 0.9  # one frame misread
    assert readers.likeliest_pair(chances.log()).tolist() == [[4, 7]]
    chances[0, :, :] = 0.01
    chances[0, :, :, 3] = 0.9
    assert readers.likeliest_pair(chances.log()).tolist() == [[3, 3]]


def test_peaks_are_cells_with_their_offsets_and_a_hidden_one_lies_under_the_first():
    maps = torch.zeros(2, 13, 13, 13)
    maps[:, 0] = -9.0
    maps[:, 0, 2, 5], maps[:, 1, 2, 5], maps[:, 2, 2, 5], maps[:, 3 + 8, 2, 5] = 4.0, 0.3, -0.4, 5.0
    maps[0, 0, 10, 1], maps[0, 3 + 6, 10, 1] = 3.0, 5.0
    corners, digits = readers.peaks(maps)
    torch.testing.assert_close(corners[0], torch.tensor([[2.3, 4.6], [10.0, 1.0]]))
    torch.testing.assert_close(corners[1], torch.tensor([[2.3, 4.6], [2.3, 4.6]]))
    assert digits.argmax(-1).tolist() == [[8, 6], [8, 8]]


def test_windows_are_cut_in_order_and_short_clips_are_refused():
    cut = readers.windows(torch.arange(27).view(1, 27), 12)
    assert cut.shape == (1, 2, 12) and cut[0, 1, 0] == 12
    with pytest.raises(ValueError, match="clips of 11 frames are too short: motion is read in windows of 12"):
        readers.windows(torch.zeros(1, 11), 12)


# --- what clips get --------------------------------------------------------------------------------------------------


def test_real_labels_are_read_and_others_are_not(real):
    data = MovingDigits()
    assert LabelAccuracy()(real.x0, real.cond, data)["label_accuracy"] > 0.85
    assert LabelAccuracy()(real.x0, real.cond.flip(1), data)["label_accuracy"] > 0.85, "in any order"
    assert LabelAccuracy()(real.x0, (real.cond + 1) % 10, data)["label_accuracy"] < 0.1
    with pytest.raises(ValueError, match=r"two labels that every clip was made for, \(N, 2\); got \(48,\)"):
        LabelAccuracy()(real.x0, real.cond[:, 0], data)


def test_real_digits_are_on_their_paths_and_shuffled_ones_are_not(real):
    data = MovingDigits()
    honest = TrajectoryError()(real.x0, real.cond, data)["trajectory_error"]
    assert honest < 0.4, "pixels: the error of reading one frame"
    assert TrajectoryError()(shuffled(real.x0), None, data)["trajectory_error"] > 1.5
    long = MovingDigits("held_out", frames=26).batch(torch.arange(12)).x0
    assert TrajectoryError()(long, None, data)["trajectory_error"] < 0.5, "windows of a long clip"


def test_places_are_read_where_the_digits_are(real):
    corners = readers.read_frames(real.x0).corners
    true = MovingDigits("held_out").motion(torch.arange(48)).positions(12).transpose(1, 2).float()
    off = torch.stack([(corners - t).norm(dim=-1).mean(-1) for t in (true, true.flip(2))]).amin(0)
    assert float(off.median()) < 0.35


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


def test_clips_of_other_sizes_and_colours_are_read_too(real):
    large = real.x0[:2].repeat_interleave(2, 3).repeat_interleave(2, 4).expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(readers.readable(large), real.x0[:2])
    with pytest.raises(ValueError, match=r"clips are \(N, F, C, H, W\); got shape \(2, 12, 20, 20\)"):
        readers.readable(real.x0[:2, :, 0])
    for metric in (TrajectoryError(), LabelAccuracy()):
        with pytest.raises(ValueError, match=r"reads digits in grey clips of 20x20 .* got \(2, 12, 3, 40, 40\)"):
            metric(large, real.cond[:2], MovingDigits())


def test_the_bundled_readers_say_where_they_come_from():
    from importlib import resources

    from limbeck.export.teacher_files import read

    for name, least in (("frame_reader", {"pairs_by_clip": 0.9}), ("clip_reader", {"untouched": 0.85, "pairs": 0.8})):
        _, header = read(str(resources.files("limbeck_video") / "assets" / f"{name}.safetensors"))
        provenance = header["provenance"]
        assert f"train_readers {name} --seed 0" in provenance["made_by"]
        assert "CC BY 4.0" in provenance["data"] and provenance["licence"] == "Apache-2.0"
        for key, value in least.items():
            assert provenance["held_out"][key] > value
