"""What is detected in frames, and where the bundled networks come from."""

import pytest
import torch

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.features.frame_detector import detect, likeliest_pair, peaks, to_grey


@pytest.fixture(scope="module")
def real():
    """48 held-out clips."""
    return MovingDigits("held_out").batch(torch.arange(48))


def test_the_likeliest_pair_adds_frames_up_and_ignores_who_is_who():
    chances = torch.full((1, 3, 2, 10), 0.01)
    chances[0, 0, 0, 4] = chances[0, 0, 1, 7] = 0.9
    chances[0, 1, 0, 7] = chances[0, 1, 1, 4] = 0.9  # the other way round
    chances[0, 2, 0, 1] = chances[0, 2, 1, 7] = 0.9  # one frame misread
    assert likeliest_pair(chances.log()).tolist() == [[4, 7]]
    chances[0, :, :] = 0.01
    chances[0, :, :, 3] = 0.9
    assert likeliest_pair(chances.log()).tolist() == [[3, 3]]


def test_peaks_are_cells_with_their_offsets_and_a_hidden_one_lies_under_the_first():
    maps = torch.zeros(2, 13, 13, 13)
    maps[:, 0] = -9.0
    maps[:, 0, 2, 5], maps[:, 1, 2, 5], maps[:, 2, 2, 5], maps[:, 3 + 8, 2, 5] = 4.0, 0.3, -0.4, 5.0
    maps[0, 0, 10, 1], maps[0, 3 + 6, 10, 1] = 3.0, 5.0
    corners, digits = peaks(maps)
    torch.testing.assert_close(corners[0], torch.tensor([[2.3, 4.6], [10.0, 1.0]]))
    torch.testing.assert_close(corners[1], torch.tensor([[2.3, 4.6], [2.3, 4.6]]))
    assert digits.argmax(-1).tolist() == [[8, 6], [8, 8]]


def test_corners_are_detected_where_the_digits_are(real):
    corners = detect(real.x0).corners
    true = MovingDigits("held_out").motion(torch.arange(48)).positions(12).transpose(1, 2).float()
    off = torch.stack([(corners - t).norm(dim=-1).mean(-1) for t in (true, true.flip(2))]).amin(0)
    assert float(off.median()) < 0.35


def test_clips_of_other_sizes_and_colours_are_converted(real):
    large = real.x0[:2].repeat_interleave(2, 3).repeat_interleave(2, 4).expand(-1, -1, 3, -1, -1)
    torch.testing.assert_close(to_grey(large), real.x0[:2])
    with pytest.raises(ValueError, match=r"clips are \(N, F, C, H, W\); got shape \(2, 12, 20, 20\)"):
        to_grey(real.x0[:2, :, 0])


def test_bundled_networks_know_their_provenance():
    from importlib import resources

    from limbeck.export.teacher_files import read

    bounds = {"frame_detector": {"pairs_by_clip": 0.9}, "clip_encoder": {"untouched": 0.85, "pairs": 0.8}}
    for name, least in bounds.items():
        _, header = read(str(resources.files("limbeck_video") / "assets" / f"{name}.safetensors"))
        provenance = header["provenance"]
        assert f"train_{name} --seed 0" in provenance["made_by"]
        assert "CC BY 4.0" in provenance["data"] and provenance["licence"] == "Apache-2.0"
        (scores,) = (row["metrics"] for row in provenance["evaluation"])
        for key, value in least.items():
            assert scores[key] > value
