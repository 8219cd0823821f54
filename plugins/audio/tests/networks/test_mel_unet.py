"""The mel U-Net on every process, and the bundled teacher of spoken digits."""

import math
from importlib import resources

import pytest
import torch

import limbeck
from limbeck.export import teacher_files
from limbeck.process.gaussian import EDM, RectifiedFlow, process_named
from limbeck_audio.data.speech import SpokenDigits
from limbeck_audio.networks import word_means
from limbeck_audio.networks.mel_unet import LOG_SIGMA, SIGMA_DATA, mel_generator
from limbeck_audio.options.networks import MelGeneratorOptions

TINY = {"channels": (8, 16), "embedding": 16, "patch": 8}
FEW = {
    "voices": ("en-us", "en-us+f2", "en+m2"),
    "held_out_voices": ("en-us+m3",),
    "pitches": (50,),
    "speeds": (130, 160),
}


@pytest.mark.parametrize("process", ["rectified_flow", "trigflow", "edm", "vp", "vp_cosine"])
@pytest.mark.parametrize("prediction", ["velocity", "edm"])
def test_a_generator_lives_on_every_process(process, prediction):
    generator = mel_generator(process=process, prediction=prediction, **TINY)
    t = torch.full((2,), 0.7 * generator.process.t_max)
    xt = generator.process.prior_std * torch.randn(2, 1, 64, 64)
    out = generator(xt, t, torch.tensor([1, 10]), features=(0, -1))
    assert out.x0_hat.shape == (2, 1, 64, 64) and torch.isfinite(out.x0_hat).all() and len(out.features) == 2
    assert out.features[1].shape == (2, 16, 4, 4)


def test_options_that_do_not_fit_64_bands_are_refused_before_torch_is_needed():
    with pytest.raises(ValueError, match="64 mel bands cannot be divided by 128"):
        MelGeneratorOptions(channels=(8,) * 5, patch=8)
    with pytest.raises(ValueError, match="levels 0 to 1"):
        MelGeneratorOptions(attention=(2,))
    with pytest.raises(ValueError, match="shift belongs to rectified_flow"):
        MelGeneratorOptions(process="edm", shift=3.0)


def test_sigma_data_is_that_of_the_clips():
    assert SpokenDigits(**FEW).mels.float().std().item() == pytest.approx(SIGMA_DATA, abs=0.04)


def lively(**options):
    """A network whose output depends on its input: a fresh one returns zero."""
    torch.manual_seed(0)
    network = mel_generator(**TINY, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize("name", ["edm", "vp", "vp_cosine", "trigflow"])
def test_an_edm_network_predicts_the_same_of_the_same_state_on_every_process(name):
    network, labels = lively().double(), torch.tensor([3, 10])
    flow, other = network.process, process_named(name, sigma_data=SIGMA_DATA)
    t = torch.tensor([0.3, 0.9], dtype=torch.float64)
    xt = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    there, time = flow.to(other, xt, t)
    expected = network(xt, t, labels).x0_hat
    network.process = other
    torch.testing.assert_close(network(there, time, labels).x0_hat, expected, rtol=1e-6, atol=1e-6)
    assert expected.std() > 0.1


def test_beyond_the_trained_noise_levels_the_network_is_called_at_the_last_of_them():
    network, x = lively(), torch.randn(2, 1, 64, 64)
    pure = network(x, torch.ones(2), torch.tensor([1, 2])).x0_hat  # sigma / alpha is infinite
    sigma = math.exp(4 * LOG_SIGMA[1])
    nearly = network(x, torch.full((2,), sigma / (1 + sigma)), torch.tensor([1, 2])).x0_hat
    torch.testing.assert_close(pure, nearly, rtol=0.05, atol=0.05)
    assert torch.isfinite(pure).all() and pure.std() > 0.01
    network.process = EDM()  # and sigma 0: the prediction is the state
    assert torch.equal(network(x, torch.zeros(2), torch.tensor([1, 2])).x0_hat, x)


def test_a_prior_mean_is_that_of_the_digit_and_moves_what_the_network_sees():
    means = word_means.bundled()
    data = SpokenDigits(**FEW)
    own = word_means.means_of(data, 10)
    assert means.shape == own.shape == (11, 1, 64, 64)
    apart = torch.cdist(own[:10].flatten(1), means[:10].flatten(1))
    assert apart.argmin(dim=1).tolist() == list(range(10))  # few voices or all: every digit is nearest to itself
    torch.testing.assert_close(own[10], own[:10].mean(dim=0))  # as many clips of each
    plain, moved = lively(process="edm"), mel_generator(process="edm", prior_mean=True, **TINY)
    moved.load_state_dict(plain.state_dict())
    y, t, labels = 3 * torch.randn(2, 1, 64, 64), torch.tensor([3.0, 0.5]), torch.tensor([7, 10])
    seen = plain(y + t.reshape(2, 1, 1, 1) * means[labels], t, labels).x0_hat
    torch.testing.assert_close(moved.eval()(y, t, labels).x0_hat, seen)
    with pytest.raises(ValueError, match="prior_mean knows the means of the 10 digits"):
        MelGeneratorOptions(prior_mean=True, words=5)


# --- the bundled teacher ---------------------------------------------------------------------------------------------


def bundled_teacher(**options):
    return limbeck.create("teacher", "audio/spoken_digits", **options)


def test_the_bundled_teacher_is_frozen_and_knows_its_provenance():
    teacher = bundled_teacher()
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert {"recipe", "data", "licence", "seed", "evaluation"} <= set(teacher.provenance)
    assert "espeak-ng" in teacher.provenance["data"]
    path = resources.files("limbeck_audio") / "assets" / "spoken_digits_teacher.safetensors"
    assert path.stat().st_size < 4_000_000
    mel_generator().load_state_dict(teacher.state_dict())  # what a recipe builds without options


def test_the_bundled_teacher_denoises_held_out_voices_on_every_process():
    # the best constant guess of x0 errs by the variance of the data; at little noise a denoiser must do far better
    held_out = SpokenDigits(**FEW).split("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    eps = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for name, level in (("rectified_flow", 0.2), ("edm", 0.25), ("rectified_flow", 0.6)):
        teacher = bundled_teacher(process=name)
        t = torch.full((len(held_out),), level)
        x0_hat = teacher(teacher.process.add_noise(batch.x0, eps, t), t, batch.cond).x0_hat
        errors.append((x0_hat - batch.x0).square().mean().item())
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)  # sigma / alpha is 1/4 in both
    assert 0.001 < errors[0] < 0.02 and errors[0] < errors[2] < 0.06 < SIGMA_DATA**2


def test_the_teacher_is_registered_with_its_options():
    teacher = limbeck.create("teacher", "audio/spoken_digits", process="edm")
    assert teacher.process == EDM() and teacher.null(torch.tensor([1, 2])).tolist() == [10, 10]


def test_a_network_of_another_prediction_stays_on_its_process(tmp_path):
    network = mel_generator(prediction="velocity", **TINY)
    path = str(tmp_path / "mine.safetensors")
    teacher_files.write(path, network.state_dict(), config={"prediction": "velocity", **TINY})
    assert bundled_teacher(weights=path).process == RectifiedFlow()
    with pytest.raises(ValueError, match="only prediction edm can be moved to another process"):
        bundled_teacher(weights=path, process="edm")
