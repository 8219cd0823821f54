import pytest
import torch

import limbeck
from limbeck.errors import RecipeError
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.networks.moving_digits import (
    SIGMA_DATA,
    moving_digits_causal,
    moving_digits_generator,
)
from limbeck_video.options.networks import CausalNetworkOptions, ClipNetworkOptions

SMALL = {"width": 16, "depth": 1, "heads": 2, "patch": 10}


def bundled(name):
    return limbeck.create("teacher", f"video/{name}")


def held_out(count):
    return MovingDigits("held_out").batch(torch.arange(count))


@pytest.mark.parametrize("process", ["rectified_flow", "trigflow", "vp_cosine"])
@pytest.mark.parametrize("prediction", ["v", "velocity", "x0"])
def test_a_generator_lives_on_every_process(process, prediction):
    generator = moving_digits_generator(process=process, prediction=prediction, **SMALL)
    t = torch.tensor([[0.7] * 12, [0.2] * 6 + [0.9] * 6]) * generator.process.t_max
    xt = torch.randn(2, 12, 1, 20, 20)
    out = generator(xt, t, torch.tensor([[1, 2], [10, 10]]), features=(0, -1))
    assert out.x0_hat.shape == xt.shape and torch.isfinite(out.x0_hat).all() and len(out.features) == 2


def test_options_that_do_not_fit_are_refused_before_torch_is_needed():
    with pytest.raises(ValueError, match="cannot be split among 3 heads"):
        ClipNetworkOptions(heads=3)
    with pytest.raises(ValueError, match="shift belongs to rectified_flow"):
        ClipNetworkOptions(process="trigflow", shift=3.0)
    with pytest.raises(ValueError, match="window and sink limit what causal attention sees"):
        ClipNetworkOptions(window=3)
    with pytest.raises(ValueError, match="attention"):
        CausalNetworkOptions(attention="full")


def test_sigma_data_is_that_of_the_clips():
    assert MovingDigits().batch(torch.arange(300)).x0.std().item() == pytest.approx(SIGMA_DATA, abs=0.01)


@pytest.mark.parametrize("name", ["moving_digits", "moving_digits_causal"])
def test_bundled_teachers_are_frozen_and_know_their_provenance(name):
    teacher = bundled(name)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert {"recipe", "data", "licence", "seed", "evaluation"} <= set(teacher.provenance)
    assert "CC BY 4.0" in teacher.provenance["data"]


def test_bundled_files_are_small():
    from importlib import resources

    sizes = {e.name: e.stat().st_size for e in (resources.files("limbeck_video") / "assets").iterdir()}
    found = [sizes[f"moving_digits_{name}.safetensors"] for name in ("teacher", "causal")]
    assert max(found) < 4_200_000


@pytest.mark.parametrize("name", ["moving_digits", "moving_digits_causal"])
def test_bundled_teachers_denoise_held_out_clips(name):
    # the best constant guess errs by 0.20, the variance of the data; at little noise a denoiser must do far better
    teacher, batch = bundled(name), held_out(24)
    eps = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(0))
    errors = []
    for level in (0.2, 0.6):
        t = torch.full((24,), level)
        with torch.no_grad():
            x0_hat = teacher(teacher.process.add_noise(batch.x0, eps, t), t, batch.cond).x0_hat
        errors.append((x0_hat - batch.x0).square().mean().item())
    assert errors[0] < 0.012 and errors[0] < errors[1] < 0.06


def test_the_causal_start_goes_on_from_clean_frames():
    # the last chunk, half noise, is denoised better behind the clip's own past than behind another clip's
    start, batch = bundled("moving_digits_causal"), held_out(24)
    eps = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(0))
    t = torch.zeros(24, 12)
    t[:, 8:] = 0.7
    xt = start.process.add_noise(batch.x0, eps, t)
    strangers = xt.clone()
    strangers[:, :8] = xt[:, :8].roll(1, 0)
    with torch.no_grad():
        own, other = (start(x, t, batch.cond).x0_hat[:, 8:] for x in (xt, strangers))
    error_own, error_other = ((x - batch.x0[:, 8:]).square().mean().item() for x in (own, other))
    assert error_own < 0.6 * error_other


def test_causal_students_begin_as_the_bundled_start():
    student, start = moving_digits_causal(), bundled("moving_digits_causal")
    assert all(torch.equal(tensor, start.state_dict()[name]) for name, tensor in student.state_dict().items())
    assert all(p.requires_grad for p in student.parameters()) and student.chunk == 4
    assert moving_digits_causal(start="fresh", **SMALL).new_cache(window=6, sink=3).positions == ()
    with pytest.raises(RecipeError, match=r"generator\.start: bundled: the weights do not fit"):
        moving_digits_causal(**SMALL)


def test_a_copy_of_the_teacher_trains_and_leaves_the_teacher_alone():
    teacher = bundled("moving_digits")
    copy = teacher.trainable_copy()
    batch = held_out(2)
    assert copy.training and all(p.requires_grad for p in copy.parameters())
    copy(batch.x0, torch.full((2,), 0.5), batch.cond).x0_hat.square().mean().backward()
    assert all(p.grad is None for p in teacher.parameters())
