"""Digits in motion: what is conserved, what is held out."""

import pytest
import torch

from limbeck.randomness import Rng
from limbeck_video.data.moving_digits import MovingDigits, motion, place, scans
from limbeck_video.physics.bouncing import TRAVEL, held_out_band, held_out_cell


def test_a_path_matches_small_steps_with_bounces():
    moving = motion(torch.arange(50), "train")
    position, velocity = moving.start.clone(), moving.velocity.clone()
    found = moving.positions(40)
    for frame in range(40):
        torch.testing.assert_close(found[:, :, frame], position)
        position = position + velocity
        over, under = position > TRAVEL, position < 0
        velocity = torch.where(over | under, -velocity, velocity)
        position = torch.where(over, 2 * TRAVEL - position, torch.where(under, -position, position))


def test_placing_conserves_ink_and_moves_its_centre_by_the_shift():
    ink = scans()["train"][0][:20].double()
    shift = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * TRAVEL
    placed = place(ink, shift)
    torch.testing.assert_close(placed.sum((1, 2)), ink.sum((1, 2)))

    def centre(pictures):
        axis = torch.arange(pictures.shape[-1], dtype=torch.float64)
        total = pictures.sum((1, 2))
        return torch.stack([(pictures.sum(2) * axis).sum(1), (pictures.sum(1) * axis).sum(1)], 1) / total[:, None]

    torch.testing.assert_close(centre(placed), centre(ink) + shift)


def test_a_clip_shows_its_scans_where_the_physics_places_them():
    data = MovingDigits()
    rows = torch.arange(30)
    clips, moving = data.batch(rows).x0, data.motion(rows)
    assert clips.shape == (30, 12, 1, 20, 20) and data.space.event == clips.shape[1:] and data.space.domain == "clip"
    assert float(clips.min()) == -1 and 0.9 < float(clips.max()) <= 1
    ink = scans()["train"][0][moving.scans]
    whole = moving.positions(12).round()  # nearest whole pixels
    for k, frame, digit in ((0, 0, 0), (7, 5, 1), (29, 11, 0)):
        y, x = moving.positions(12)[k, digit, frame].tolist()
        lone = place(ink[k, digit], torch.tensor([y, x]))
        assert bool(((clips[k, frame, 0] + 1) / 2 >= lone - 1e-6).all()), "the brighter of two pixels is kept"
    assert whole.shape == (30, 2, 12, 2)


def test_labels_come_sorted_and_belong_to_the_scans():
    batch = MovingDigits("held_out").batch(torch.arange(200))
    moving = MovingDigits("held_out").motion(torch.arange(200))
    assert batch.cond.dtype == torch.int64 and batch.cond.shape == (200, 2)
    assert bool((batch.cond[:, 0] <= batch.cond[:, 1]).all()) and len(batch.cond.unique()) == 10
    assert torch.equal(scans()["held_out"][1][moving.scans], batch.cond)


def test_scans_speeds_and_starts_of_the_splits_have_nothing_in_common():
    train, held_out = motion(torch.arange(5000), "train"), motion(torch.arange(1000), "held_out")
    assert len(scans()["train"][1]) == 1437 and len(scans()["held_out"][1]) == 360
    for name, moving in (("train", train), ("held_out", held_out)):
        speed = moving.velocity.norm(dim=-1)
        assert float(speed.min()) >= 0.6 and float(speed.max()) < 1.8
        band, cell = ((speed - 0.6) / 0.05 + 1e-9).floor().long(), moving.start.floor().long()
        held = name == "held_out"
        assert bool((held_out_band(band) == held).all())
        assert bool((held_out_cell(cell[..., 0], cell[..., 1]) == held).all())
    ratio = float(held_out.velocity.norm(dim=-1).mean() / train.velocity.norm(dim=-1).mean())
    assert ratio == pytest.approx(1, abs=0.05), "the same range of speeds"


def test_no_digit_slides_along_a_wall():
    velocity = motion(torch.arange(2000), "train").velocity.abs()
    angle = torch.atan2(velocity.amin(-1), velocity.amax(-1)).rad2deg()
    assert float(angle.min()) >= 15 - 1e-6


def test_a_clip_is_a_function_of_its_index_and_long_clips_begin_with_the_short_ones():
    data = MovingDigits()
    some = data.batch(torch.tensor([5, 900, 19_999]))
    alone = data.batch(torch.tensor([900]))
    assert torch.equal(some.x0[1], alone.x0[0]) and torch.equal(some.cond[1], alone.cond[0])
    longer = data.longer(60)
    assert longer.space.event == (60, 1, 20, 20) and len(longer) == len(data) == 20_000
    torch.testing.assert_close(longer.batch(torch.tensor([900])).x0[:, :12], alone.x0)
    assert not torch.equal(alone.x0, data.split("held_out").batch(torch.tensor([900])).x0)


def test_golden_first_clip():
    # python -c "from limbeck_video.data.moving_digits import *; import torch; print(motion(torch.arange(1), 'train'))"
    first = motion(torch.arange(1), "train")
    assert first.labels.tolist() == [[3, 3]]
    assert float(MovingDigits().batch(torch.arange(64)).x0.double().mean()) == pytest.approx(-0.821076, abs=1e-5)


def test_conditions_are_drawn_in_the_proportions_of_the_data():
    drawn = MovingDigits().conditions(3000, Rng(0, phase="evaluation"))
    assert drawn.shape == (3000, 2)
    share = torch.bincount(drawn.flatten(), minlength=10) / 6000
    assert float((share - 0.1).abs().max()) < 0.02
