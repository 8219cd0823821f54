"""The bundled classifier of sounds, and how it is trained."""

import torch
from sounds_by_hand import level

from limbeck.randomness import Rng
from limbeck_audio.features.mel_convnet import Classifier, bundled, coarse
from limbeck_audio.features.train_mel_convnet import augment, train


def test_the_classifier_is_trained_by_seed_and_its_features_are_whitened(digits):
    runs = [train(seed, epochs=4, batch_size=8, data=digits, log=lambda text: None) for seed in (0, 0, 1)]
    (network, accuracy), (again, _), (other, _) = runs
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(network.parameters()), next(other.parameters()))
    assert 0 <= accuracy <= 1 and not any(p.requires_grad for p in network.parameters())
    features = network.features(digits.mels.float())
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(64), rtol=0, atol=1e-3)
    spread = features.std(dim=0).square().sum().item()
    assert 5 < spread < 40  # at most one for each of the 39 directions that 40 clips span, less for shrinkage


def test_the_bundled_classifier_says_where_it_comes_from():
    from importlib import resources

    from limbeck.export.teacher_files import read

    state, header = read(resources.files("limbeck_audio") / "assets" / "spoken_digits_classifier.safetensors")
    assert (
        header["provenance"]["evaluation"][0]["metrics"]["accuracy"] >= 0.97
        and "espeak-ng" in header["provenance"]["data"]
    )
    assert "train_mel_convnet --seed 0" in header["provenance"]["made_by"]
    assert set(state) == set(Classifier().state_dict()) and not bundled().training


def test_augmentation_keeps_the_range_silence_and_the_seed():
    mels = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.5
    mels[..., :16] = -1
    first, again = augment(mels, Rng(0)), augment(mels, Rng(0))
    assert torch.equal(first, again) and not torch.equal(first, augment(mels, Rng(1)))
    assert first.shape == mels.shape and first.min() == -1 and (first - mels).abs().mean() > 0.05
    assert torch.equal(augment(level(-1.0, 4), Rng(0)).clamp_max(-0.3), augment(level(-1.0, 4), Rng(0)))  # noise only
    torch.testing.assert_close(coarse(level(0.25)), torch.full((1, 256), 0.25))
