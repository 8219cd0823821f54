"""What the readers of clips are trained on: tampering does what its name says."""

import torch

from limbeck.randomness import Rng
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.features.readers import TAMPERED
from limbeck_video.features.train_readers import frames_to_read, place_loss, tampered_order, tampered_pictures


def kind(name, rows):
    return torch.full((rows,), TAMPERED.index(name))


def test_the_order_of_frames_is_tampered_with():
    seen = torch.arange(12.0).view(1, 12, 1).expand(5, 12, 64) + 100 * torch.arange(5.0).view(5, 1, 1)
    mates = -seen
    rng = Rng(0, phase="test")
    assert torch.equal(tampered_order(seen, mates, kind("untouched", 5), rng), seen)
    shuffled = tampered_order(seen, mates, kind("shuffled", 5), rng)
    assert torch.equal(shuffled.sort(dim=1).values, seen) and not torch.equal(shuffled, seen)
    frozen = tampered_order(seen, mates, kind("frozen", 5), rng)[..., 0] - seen[:, :1, 0]
    for row in frozen:
        last = int(row[-1])
        assert 1 <= last <= 6 and row.tolist() == [min(k, last) for k in range(12)]
    jumped = tampered_order(seen, mates, kind("jump", 5), rng)[..., 0]
    for row, own in zip(jumped, seen[..., 0], strict=True):
        cut = int((row == own).sum())
        assert 2 <= cut < 12 and torch.equal(row[cut:], -own[cut:])


def test_pictures_are_tampered_with():
    clips = MovingDigits().batch(torch.arange(4)).x0
    slow = clips.flip(1)
    rng = Rng(0, phase="test")
    assert torch.equal(tampered_pictures(clips, slow, kind("untouched", 4), rng), clips)
    assert torch.equal(tampered_pictures(clips, slow, kind("slow", 4), rng), slow)
    faded = (tampered_pictures(clips, slow, kind("fading", 4), rng) + 1).flatten(2).sum(-1) / (clips + 1).flatten(
        2
    ).sum(-1)
    assert bool((faded[:, :-1] > faded[:, 1:]).all()) and 0.1 <= float(faded[:, -1].min()) < 0.61
    jittered = tampered_pictures(clips, slow, kind("jitter", 4), rng)
    torch.testing.assert_close(jittered.flatten(2).sum(-1), clips.flatten(2).sum(-1), rtol=1e-4, atol=1e-2)
    assert not torch.equal(jittered, clips)


def test_a_map_that_says_the_truth_costs_nothing():
    _, labels, corners, there = frames_to_read(Rng(0, phase="test"), 16)
    there = torch.ones_like(there)
    apart = (corners[:, 0] - corners[:, 1]).norm(dim=1) > 2
    labels, corners, there = labels[apart], corners[apart], there[apart]
    maps = torch.zeros(len(labels), 13, 13, 13)
    maps[:, 0] = -30.0
    for k in range(len(labels)):
        for label, corner in zip(labels[k].tolist(), corners[k], strict=True):
            y, x = corner.round().long().tolist()
            maps[k, 0, y, x], maps[k, 3 + label, y, x] = 30.0, 30.0
            maps[k, 1:3, y, x] = corner - corner.round()
    told = place_loss(maps, corners, labels, there)
    assert max(float(value) for value in told.values()) < 1e-5
    wrong = place_loss(maps, corners, (labels + 1) % 10, there)
    assert abs(float(wrong["digits"]) - 30) < 1e-3 and float(wrong["found"]) < 1e-5
