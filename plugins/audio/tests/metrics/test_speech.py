"""Whether the wanted word is heard."""

import math

import pytest
import torch
from sounds_by_hand import Fixed, level

from limbeck_audio.data.speech import SpokenDigits
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.metrics.frechet import FrechetAudio
from limbeck_audio.metrics.speech import DigitAccuracy


def test_digit_accuracy_counts_the_words_heard(digits):
    batch = digits.split("held_out").batch(torch.arange(20))
    assert DigitAccuracy()(batch.x0, batch.cond, digits)["digit_accuracy"] >= 0.9
    wanted = batch.cond.clone()
    wanted[:5] = (wanted[:5] + 1) % 10
    right = (describe(batch.x0)[1] == wanted).double().mean().item()
    assert DigitAccuracy()(batch.x0, wanted, digits)["digit_accuracy"] == right <= 0.75


def test_digit_accuracy_is_nan_for_other_words_and_says_so():
    data = Fixed(level(0.0), level(0.0), torch.tensor([0]), words=("yes", "no"))
    with pytest.warns(UserWarning, match="knows zero to nine.*these samples are of yes, no.*Leave it out"):
        assert math.isnan(DigitAccuracy()(level(0.0), torch.tensor([0]), data)["digit_accuracy"])
    with pytest.warns(UserWarning, match="have no condition"):
        assert math.isnan(DigitAccuracy()(level(0.0), None, data)["digit_accuracy"])


@pytest.mark.slow
def test_the_classifier_hears_digits_in_voices_it_never_heard():
    data = SpokenDigits(pitches=(30, 60), speeds=(120, 160))
    held_out = data.split("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    assert DigitAccuracy()(batch.x0, batch.cond, data)["digit_accuracy"] >= 0.97
    found = FrechetAudio()(batch.x0, batch.cond, data)
    assert 0.5 < found["frechet_audio"] < 6  # other voices, the same words
