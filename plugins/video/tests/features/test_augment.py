"""Corruption of clips does what its name promises."""

import torch

from limbeck.randomness import Rng
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.features.augment import corrupt_order, corrupt_pictures
from limbeck_video.features.clip_encoder import CORRUPTIONS


def kind(name, rows):
    return torch.full((rows,), CORRUPTIONS.index(name))


def test_the_order_of_frames_is_corrupted():
    features = torch.arange(12.0).view(1, 12, 1).expand(5, 12, 64) + 100 * torch.arange(5.0).view(5, 1, 1)
    mates = -features
    rng = Rng(0, phase="test")
    assert torch.equal(corrupt_order(features, mates, kind("untouched", 5), rng), features)
    shuffled = corrupt_order(features, mates, kind("shuffled", 5), rng)
    assert torch.equal(shuffled.sort(dim=1).values, features) and not torch.equal(shuffled, features)
    frozen = corrupt_order(features, mates, kind("frozen", 5), rng)[..., 0] - features[:, :1, 0]
    for row in frozen:
        last = int(row[-1])
        assert 1 <= last <= 6 and row.tolist() == [min(k, last) for k in range(12)]
    jumped = corrupt_order(features, mates, kind("jump", 5), rng)[..., 0]
    for row, own in zip(jumped, features[..., 0], strict=True):
        cut = int((row == own).sum())
        assert 2 <= cut < 12 and torch.equal(row[cut:], -own[cut:])


def test_pictures_are_corrupted():
    clips = MovingDigits().batch(torch.arange(4)).x0
    slow = clips.flip(1)
    rng = Rng(0, phase="test")
    assert torch.equal(corrupt_pictures(clips, slow, kind("untouched", 4), rng), clips)
    assert torch.equal(corrupt_pictures(clips, slow, kind("slow", 4), rng), slow)
    faded = (corrupt_pictures(clips, slow, kind("fading", 4), rng) + 1).flatten(2).sum(-1) / (clips + 1).flatten(2).sum(
        -1
    )
    assert bool((faded[:, :-1] > faded[:, 1:]).all()) and 0.1 <= float(faded[:, -1].min()) < 0.61
    jittered = corrupt_pictures(clips, slow, kind("jitter", 4), rng)
    torch.testing.assert_close(jittered.flatten(2).sum(-1), clips.flatten(2).sum(-1), rtol=1e-4, atol=1e-2)
    assert not torch.equal(jittered, clips)
