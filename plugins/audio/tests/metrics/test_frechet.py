"""The Frechet distance of sounds in the features of the bundled classifier."""

import pytest
import torch
from sounds_by_hand import Fixed, level

from limbeck.errors import LimbeckError
from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Space
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.metrics.frechet import FrechetAudio


def test_frechet_audio_is_the_frechet_distance_of_features(digits):
    held_out = digits.split("held_out")
    samples = digits.batch(torch.arange(len(digits))).x0
    found = FrechetAudio()(samples, None, digits)
    assert found["frechet_audio"] == pytest.approx(0.0, abs=1e-6)
    by_hand = frechet_distance(
        *moments(describe(samples)[0]), *moments(describe(held_out.batch(torch.arange(20)).x0)[0])
    )
    assert found["frechet_audio_held_out"] == pytest.approx(by_hand, rel=1e-9) and by_hand > 1


def test_damage_is_farther_than_another_voice(digits):
    held_out = digits.split("held_out").batch(torch.arange(20))
    near = FrechetAudio()(held_out.x0, held_out.cond, digits)["frechet_audio"]
    noisy = held_out.x0 + 0.5 * torch.randn(held_out.x0.shape, generator=torch.Generator().manual_seed(0))
    mean = digits.mels.float().mean(dim=0, keepdim=True).expand(20, -1, -1, -1)
    for worse in (noisy, mean, held_out.x0.flip(-1)):  # noise, no variety, played backwards
        assert FrechetAudio()(worse, held_out.cond, digits)["frechet_audio"] > 1.3 * near


def test_sounds_of_another_front_end_are_refused():
    data = Fixed(torch.zeros(2, 1, 80, 64), torch.zeros(2, 1, 80, 64))
    data.space = Space((1, 80, 64), domain="mel")
    with pytest.raises(LimbeckError, match=r"compare log-mels of shape \(1, 64, 64\); this data is \(1, 80, 64\)"):
        FrechetAudio()(level(0.0, 4), None, data)
