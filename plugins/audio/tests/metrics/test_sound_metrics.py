"""Metrics of sound against answers known on paper, and in the bundled classifier on real clips."""

import math
import time
from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.evaluation.frechet import frechet_distance, moments
from limbeck.interfaces import Batch, Codec, Data, Sample, Sampler, Space
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing import GaussianTeacher
from limbeck_audio.data.speech import SpokenDigits
from limbeck_audio.features.mel_convnet import Classifier, bundled, coarse, describe
from limbeck_audio.features.train_mel_convnet import augment, train
from limbeck_audio.metrics import speech as metrics
from limbeck_audio.metrics.speech import (
    DigitAccuracy,
    FrechetAudio,
    LogSpectralDistance,
    RealTimeFactor,
    log_spectral_distance,
    nearest_in_decibels,
)
from limbeck_audio.options.sounds import DIGITS
from limbeck_audio.signal.mel import CLIP, RATE, SPACE

SMALL = {"voices": ("en-us", "en+m2"), "held_out_voices": ("en-us+m3",), "pitches": (45,), "speeds": (120, 160)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = SpokenDigits(**SMALL)
        data.split("held_out")
        return data


class Fixed(Data):
    """Log-mels given by hand."""

    def __init__(self, train, held_out, labels=None, words=DIGITS):
        self.space, self.words, self.options = SPACE, words, id(self)
        self.parts, self.labels, self.name = {"train": train, "held_out": held_out}, labels, "train"

    def __len__(self):
        return len(self.parts[self.name])

    def batch(self, indices):
        return Batch(x0=self.parts[self.name][indices], cond=None if self.labels is None else self.labels[indices])

    def split(self, name):
        made = Fixed(self.parts["train"], self.parts["held_out"], self.labels, self.words)
        made.name, made.options = name, self.options
        return made


def level(value, rows=1):
    return torch.full((rows, 1, 64, 64), value)


# --- log-spectral distance -------------------------------------------------------------------------------------------


def test_log_spectral_distance_of_levels_is_their_difference_in_decibels():
    assert log_spectral_distance(level(0.1), level(-0.1)).item() == pytest.approx(7.0, rel=1e-5)  # 0.2 * 35 dB
    # half the mels off by 10 dB in a quarter of the frames: sqrt(1/2) * 10 / 4
    other = level(0.0)
    other[:, :, :32, :16] += 10 / 35
    assert log_spectral_distance(level(0.0), other).item() == pytest.approx(10 * math.sqrt(0.5) / 4, rel=1e-5)
    # root mean square within a frame, plain mean over frames
    stripes = level(0.0)
    stripes[..., ::2] += 0.1
    assert log_spectral_distance(level(0.0), stripes).item() == pytest.approx(1.75, rel=1e-5)


def test_the_nearest_clip_counts_and_a_copy_is_at_zero():
    pool = torch.cat([level(-1.0), level(0.0), level(0.4)])
    found = nearest_in_decibels(torch.cat([level(0.1), level(0.4), level(-0.9)]), pool)
    torch.testing.assert_close(found, torch.tensor([3.5, 0.0, 3.5]), rtol=1e-4, atol=1e-4)


def test_only_clips_of_the_same_word_are_compared():
    data = Fixed(torch.cat([level(0.0), level(0.2)]), torch.cat([level(0.5), level(-0.5)]), torch.tensor([0, 1]))
    found = LogSpectralDistance()(level(0.2, 2), torch.tensor([0, 1]), data)
    assert found["log_spectral_distance"] == pytest.approx((7.0 + 0.0) / 2, abs=1e-4)
    assert found["log_spectral_distance_held_out"] == pytest.approx((0.3 * 35 + 0.7 * 35) / 2, rel=1e-4)
    unlabelled = LogSpectralDistance()(level(0.2, 2), None, data)
    assert unlabelled["log_spectral_distance"] == pytest.approx(0.0, abs=1e-4)


# --- in the classifier's features ------------------------------------------------------------------------------------


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


def test_digit_accuracy_counts_the_words_heard(digits):
    batch = digits.split("held_out").batch(torch.arange(20))
    assert DigitAccuracy()(batch.x0, batch.cond, digits)["digit_accuracy"] >= 0.9
    asked = batch.cond.clone()
    asked[:5] = (asked[:5] + 1) % 10
    right = (describe(batch.x0)[1] == asked).double().mean().item()
    assert DigitAccuracy()(batch.x0, asked, digits)["digit_accuracy"] == right <= 0.75


def test_digit_accuracy_is_nan_for_other_words_and_says_so():
    data = Fixed(level(0.0), level(0.0), torch.tensor([0]), words=("yes", "no"))
    with pytest.warns(UserWarning, match="reads zero to nine.*these samples say yes, no.*Leave it out"):
        assert math.isnan(DigitAccuracy()(level(0.0), torch.tensor([0]), data)["digit_accuracy"])
    with pytest.warns(UserWarning, match="have no condition"):
        assert math.isnan(DigitAccuracy()(level(0.0), None, data)["digit_accuracy"])


def test_the_classifier_is_trained_by_seed_and_its_features_are_whitened(digits):
    runs = [train(seed, epochs=4, batch_size=8, data=digits, tell=lambda text: None) for seed in (0, 0, 1)]
    (network, accuracy), (again, _), (other, _) = runs
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(network.parameters()), next(other.parameters()))
    assert 0 <= accuracy <= 1 and not any(p.requires_grad for p in network.parameters())
    features = network.features(digits.mels.float())
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(64), rtol=0, atol=1e-3)
    spread = features.std(dim=0).square().sum().item()
    assert 5 < spread < 40  # at most one for each of the 39 directions that 40 clips span, less for shrinkage


def test_sounds_of_another_front_end_are_refused():
    data = Fixed(torch.zeros(2, 1, 80, 64), torch.zeros(2, 1, 80, 64))
    data.space = Space((1, 80, 64), domain="mel")
    with pytest.raises(LimbeckError, match=r"compare log-mels of shape \(1, 64, 64\); this data is \(1, 80, 64\)"):
        FrechetAudio()(level(0.0, 4), None, data)


def test_the_bundled_classifier_says_where_it_comes_from():
    from importlib import resources

    from limbeck.export.teacher_files import read

    state, header = read(resources.files("limbeck_audio") / "assets" / "spoken_digits_classifier.safetensors")
    assert header["provenance"]["held_out_accuracy"] >= 0.97 and "espeak-ng" in header["provenance"]["data"]
    assert "train_classifier --seed 0" in header["provenance"]["made_by"]
    assert set(state) == set(Classifier().state_dict()) and not bundled().training


def test_augmentation_keeps_the_range_silence_and_the_seed():
    from limbeck.randomness import Rng

    mels = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    mels[..., :16] = -1
    first, again = augment(mels, Rng(0)), augment(mels, Rng(0))
    assert torch.equal(first, again) and not torch.equal(first, augment(mels, Rng(1)))
    assert first.shape == mels.shape and first.min() == -1 and (first - mels).abs().mean() > 0.05
    assert torch.equal(augment(level(-1.0, 4), Rng(0)).clamp_max(-0.3), augment(level(-1.0, 4), Rng(0)))  # noise only
    torch.testing.assert_close(coarse(level(0.25)), torch.full((1, 256), 0.25))


@pytest.mark.slow
def test_the_classifier_hears_digits_in_voices_it_never_heard():
    data = SpokenDigits(pitches=(30, 60), speeds=(120, 160))
    held_out = data.split("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    assert DigitAccuracy()(batch.x0, batch.cond, data)["digit_accuracy"] >= 0.97
    found = FrechetAudio()(batch.x0, batch.cond, data)
    assert 0.5 < found["frechet_audio"] < 6  # other voices, the same words


# --- against the clock -----------------------------------------------------------------------------------------------


class Sleeper(Sampler):
    """Takes 10 ms for every step."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        time.sleep(0.01 * steps)
        return Sample(value=noise, at=noise, t_from=1.0, t_to=0.0, evaluations=steps)


class SlowCodec(Codec):
    def decode(self, value):
        time.sleep(0.03)
        return value


def test_real_time_factor_counts_the_network_and_the_vocoder():
    space = Space((1, 64, 64), domain="mel", codec=SlowCodec())
    teacher = GaussianTeacher(RectifiedFlow(), torch.zeros(1, 64, 64), 1.0, space=space)
    reference = SimpleNamespace(conditions=lambda count, rng: None)
    found = RealTimeFactor(batch=2, repeats=2)(teacher, None, reference, sampler=Sleeper(), steps=4)
    seconds = 2 * CLIP / RATE  # two clips at once
    assert 0.04 / seconds <= found["real_time_factor_network"] < 0.4 / seconds  # a busy machine sleeps longer
    beyond = (found["real_time_factor"] - found["real_time_factor_network"]) * seconds
    assert 0.03 <= beyond < 0.3
    assert RealTimeFactor()(teacher, None, reference) == {}
    assert metrics.RealTimeFactor.samples
