"""The U-Net of digits on every process, and the bundled teacher."""

import pytest
import torch

import limbeck
from limbeck_image.data.digits import Digits
from limbeck_image.metrics.class_accuracy import ClassAccuracy
from limbeck_image.metrics.frechet import Frechet
from limbeck_image.networks.unet import SIGMA_DATA, digits_generator
from limbeck_image.options.networks import DigitsGeneratorOptions


@pytest.mark.parametrize("process", ["rectified_flow", "trigflow", "edm", "vp", "vp_cosine"])
@pytest.mark.parametrize("prediction", ["velocity", "edm"])
def test_a_generator_lives_on_every_process(process, prediction):
    generator = digits_generator(process=process, prediction=prediction, channels=(16, 16))
    t = torch.full((2,), 0.7 * generator.process.t_max)
    xt = generator.process.prior_std * torch.randn(2, 1, 8, 8)
    out = generator(xt, t, torch.tensor([1, 10]), features=(0, -1))
    assert out.x0_hat.shape == (2, 1, 8, 8) and torch.isfinite(out.x0_hat).all() and len(out.features) == 2


def test_options_that_do_not_fit_eight_pixels_are_refused_before_torch_is_needed():
    with pytest.raises(ValueError, match="8 pixels cannot be divided by 16"):
        DigitsGeneratorOptions(channels=(16, 16, 16), patch=4)
    with pytest.raises(ValueError, match="levels 0 to 1"):
        DigitsGeneratorOptions(attention=(2,))
    with pytest.raises(ValueError, match="shift belongs to rectified_flow"):
        DigitsGeneratorOptions(process="edm", shift=3.0)


def test_sigma_data_is_that_of_the_scans():
    assert Digits().images.std().item() == pytest.approx(SIGMA_DATA, abs=0.01)


# --- the bundled teacher ---------------------------------------------------------------------------------------------


def bundled_teacher():
    return limbeck.create("teacher", "image/digits")


def test_the_bundled_teacher_is_frozen_and_knows_its_provenance():
    teacher = bundled_teacher()
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert {"recipe", "data", "licence", "seed", "evaluation"} <= set(teacher.provenance)


def test_the_bundled_teacher_denoises_held_out_scans():
    # the best constant guess of x0 errs by the variance of the data; at little noise a denoiser must do far better
    teacher, held_out = bundled_teacher(), Digits("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    eps = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for level in (0.2, 0.6):
        t = torch.full((len(held_out),), level)
        x0_hat = teacher(teacher.process.add_noise(batch.x0, eps, t), t, batch.cond).x0_hat
        errors.append((x0_hat - batch.x0).square().mean().item())
    assert errors[0] < 0.03 and errors[0] < errors[1] < 0.15 < SIGMA_DATA**2


def test_the_teacher_obeys_its_labels_and_the_null_label_is_the_mixture():
    teacher = bundled_teacher()
    x = torch.randn(500, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(500) % 10
    at_noise = teacher(x, torch.ones(500), labels).x0_hat  # one step: about the class mean
    assert ClassAccuracy()(at_noise, labels, Digits())["class_accuracy"] > 0.9
    mixture = teacher(x, torch.ones(500), teacher.null(labels)).x0_hat
    overall = Digits().images.mean(dim=0)
    assert (mixture.mean(dim=0) - overall).square().mean() < 0.02 < (at_noise[:1] - overall).square().mean()


def test_a_teacher_cut_to_one_step_is_far_from_the_scans():
    teacher, labels = bundled_teacher(), torch.arange(1000) % 10
    x = torch.randn(1000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = Frechet()(teacher(x, torch.ones(1000), labels).x0_hat, labels, Digits())
    assert found["frechet"] > 8


def test_a_copy_of_the_teacher_trains_without_dropout_and_leaves_the_teacher_alone():
    teacher = bundled_teacher()
    copy = teacher.trainable_copy()
    x, t, labels = torch.randn(4, 1, 8, 8), torch.full((4,), 0.5), torch.arange(4)
    assert copy.training and all(p.requires_grad for p in copy.parameters())
    torch.testing.assert_close(copy(x, t, labels).x0_hat, teacher(x, t, labels).x0_hat)
    copy(x, t, labels).x0_hat.square().mean().backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_the_default_generator_is_built_like_the_bundled_teacher():
    digits_generator().load_state_dict(bundled_teacher().state_dict())
