"""The adapter from a raw network to a predictor, against closed forms."""

import pytest
import torch
from torch import nn

from limbeck.interfaces import Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import EDM, KINDS, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.testing import GaussianTeacher, TinyNetwork

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(), TrigFlow(sigma_data=0.5)]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


class Said(nn.Module):
    """A network that predicts what it was given, and keeps its inputs."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, None

    def forward(self, x, time, cond, **extra):
        self.seen = x, time, cond, extra
        return self.answer


def setting(process):
    teacher = GaussianTeacher(process, torch.tensor([0.7, -0.4]), torch.tensor([0.5, 1.3]))
    t = torch.linspace(0.05, 0.95, 6, dtype=torch.float64) * process.t_max
    xt = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(6, 2)
    return teacher, xt, t


@every_process
@pytest.mark.parametrize("kind", KINDS)
def test_each_prediction_kind_becomes_the_posterior_mean(process, kind):
    teacher, xt, t = setting(process)
    said = getattr(teacher, "x0_hat" if kind == "x0" else kind)(xt, t)
    got = Denoiser(Said(said), process, Space((2,)), prediction=kind)(xt, t)
    torch.testing.assert_close(got.x0_hat, teacher.x0_hat(xt, t), rtol=1e-8, atol=1e-9)
    assert got.xs is None and got.features == ()


@every_process
def test_the_network_sees_unit_variance_and_a_scaled_time(process):
    # data of standard deviation sigma_data: x_in = x_t / sqrt(alpha^2 sigma_data^2 + sigma^2) has variance one
    network = Said(torch.zeros(6, 2, dtype=torch.float64))
    _, xt, t = setting(process)
    cond = torch.arange(6)
    Denoiser(network, process, Space((2,)), sigma_data=0.7)(xt, t, cond)
    x, time, seen, extra = network.seen
    _, variance = GaussianTeacher(process, torch.zeros(2), 0.7).marginal(t)
    torch.testing.assert_close(x, xt / variance[:, 0, :1].sqrt())
    torch.testing.assert_close(time, t / process.t_max)
    assert torch.equal(seen, cond) and extra == {}


@pytest.mark.parametrize("process", [EDM(), EDM(sigma_max=10.0), RectifiedFlow(), VP(), TrigFlow(0.5)], ids=repr)
def test_edm_preconditioning_is_the_table_of_the_paper(process):
    network = Said(torch.tensor([[0.3, -0.9]], dtype=torch.float64).expand(6, 2))
    _, xt, t = setting(process)
    got = Denoiser(network, process, Space((2,)), prediction="edm", sigma_data=0.5)(xt, t).x0_hat
    c = process.at(t, xt)
    sigma, x = c.sigma_t / c.alpha_t, xt / c.alpha_t
    c_skip, c_out = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25).sqrt()
    torch.testing.assert_close(got, c_skip * x + c_out * network.answer, rtol=1e-10, atol=1e-12)
    shown, time, _, _ = network.seen
    torch.testing.assert_close(shown, x / (sigma**2 + 0.25).sqrt())
    torch.testing.assert_close(time, sigma[:, 0].log() / 4)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_for_centred_data_of_width_sigma_data_the_edm_network_is_zero(process):
    teacher = GaussianTeacher(process, torch.zeros(2), 0.5)
    _, xt, t = setting(process)
    predictor = Denoiser(Said(torch.zeros_like(xt)), process, Space((2,)), prediction="edm", sigma_data=0.5)
    torch.testing.assert_close(predictor(xt, t).x0_hat, teacher.x0_hat(xt, t), rtol=1e-11, atol=1e-12)
    other = GaussianTeacher(process, torch.zeros(2), 0.8)
    assert float((predictor(xt, t).x0_hat - other.x0_hat(xt, t)).abs().max()) > 0.04


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("kind", ["velocity", "v", "x0", "edm"])
def test_a_network_is_finite_at_both_ends_of_time(process, kind):
    network = TinyNetwork((2,), width=8)
    predictor = Denoiser(network, process, Space((2,)), prediction=kind)
    xt = torch.tensor([[0.5, -1.0], [2.0, 1.0]]) * torch.tensor([[1.0], [process.prior_std]])
    out = predictor(xt, torch.tensor([0.0, process.t_max])).x0_hat
    if isinstance(process, VP) and kind == "velocity":
        return  # d_sigma_t is infinite at t = 0 on VP: use v, eps or edm there
    assert bool(out.isfinite().all())
    if kind != "x0":
        torch.testing.assert_close(out[0], xt[0], atol=1e-4, rtol=0)  # at t = 0 the state is the data


def test_an_edm_network_is_told_of_most_noise_at_the_end_and_least_at_the_start():
    # in float32, cos(pi / 2) is negative: sigma / alpha must not turn into "no noise" there
    for process in PROCESSES:
        network = Said(torch.zeros(3, 2))
        t = torch.tensor([0.0, 0.5, 1.0]) * process.t_max
        Denoiser(network, process, Space((2,)), prediction="edm")(torch.zeros(3, 2), t)
        time = network.seen[1]
        assert bool(time.isfinite().all()) and bool((time.diff() > 0).all()), (process, time)


def test_a_time_per_frame_equals_one_per_sample_when_equal():
    class Shift(nn.Module):  # knows how to broadcast its time
        def forward(self, x, time, cond, **extra):
            return x + time.reshape(time.shape + (1,) * (x.ndim - time.ndim))

    for kind in ("velocity", "edm"):
        predictor = Denoiser(Shift(), VPCosine(), Space((3, 2)), prediction=kind)
        x, t = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.3, 0.6, 0.9])
        one, frames = predictor(x, t).x0_hat, predictor(x, t[:, None].expand(4, 3)).x0_hat
        torch.testing.assert_close(frames, one)
        mixed = predictor(x, torch.stack([t, t.flip(0), t], 1)).x0_hat
        torch.testing.assert_close(mixed[:, 1], predictor(x, t.flip(0)).x0_hat[:, 1])


def test_a_second_time_gives_the_ddim_form_with_the_identity_at_s_equal_t():
    torch.manual_seed(0)
    network = TinyNetwork((2,), width=16, two_times=True)
    process = TrigFlow()
    predictor = Denoiser(network, process, Space((2,)), prediction="v", two_times=True)
    x, t = torch.randn(3, 2), torch.tensor([0.4, 0.9, 1.5])
    torch.testing.assert_close(predictor(x, t, s=t).xs, x)
    out = predictor(x, t, s=t / 3)
    torch.testing.assert_close(out.xs, process.ddim(x, t, t / 3, out.x0_hat))
    assert float((out.x0_hat - predictor(x, t, s=t / 2).x0_hat).detach().abs().max()) > 1e-5  # the network saw s
    with pytest.raises(TypeError, match="takes no second time s; build it with two_times=True"):
        Denoiser(TinyNetwork((2,)), process, Space((2,)))(x, t, s=t / 2)


def test_features_are_passed_on_request():
    predictor = Denoiser(TinyNetwork((2,), width=16, depth=3), EDM(), Space((2,)), prediction="edm")
    x, t = torch.randn(5, 2), torch.full((5,), 3.0)
    out = predictor(x, t, features=(0, -1))
    assert [f.shape for f in out.features] == [(5, 16), (5, 16)]
    torch.testing.assert_close(out.x0_hat, predictor(x, t).x0_hat)


def test_null_conditions_are_labels_or_tensors():
    network = TinyNetwork((2,), classes=4)
    label = Denoiser(network, EDM(), Space((2,)), null=4)
    assert label.null(torch.tensor([0, 3])).tolist() == [4, 4]
    embedding = Denoiser(network, EDM(), Space((2,)), null=torch.tensor([0.5, -0.5]))
    assert embedding.null(torch.zeros(3, 2)).tolist() == [[0.5, -0.5]] * 3
    with pytest.raises(TypeError, match="no null condition"):
        Denoiser(network, EDM(), Space((2,))).null(torch.tensor([0]))


def test_a_trainable_copy_is_independent():
    torch.manual_seed(0)
    base = Denoiser(TinyNetwork((2,), width=8), RectifiedFlow(), Space((2,))).freeze()
    copy = base.trainable_copy()
    x, t = torch.randn(3, 2), torch.tensor([0.2, 0.5, 0.9])
    assert torch.equal(copy(x, t).x0_hat, base(x, t).x0_hat) and copy.training
    assert all(p.requires_grad for p in copy.parameters()) and not any(p.requires_grad for p in base.parameters())
    with torch.no_grad():
        next(copy.parameters()).add_(1.0)
    assert not torch.equal(copy(x, t).x0_hat, base(x, t).x0_hat)
    with pytest.raises(TypeError, match="mode 'full'; got 'lora'"):
        base.trainable_copy("lora")


def test_forward_mode_derivatives_pass_through():
    torch.manual_seed(0)
    predictor = Denoiser(TinyNetwork((2,), width=8).double(), TrigFlow(), Space((2,)), prediction="v")
    x, t = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    dx, dt = torch.randn(3, 2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    _, got = torch.func.jvp(lambda x, t: predictor(x, t).x0_hat, (x, t), (dx, dt))
    h = 1e-6
    with torch.no_grad():
        expected = (predictor(x + h * dx, t + h * dt).x0_hat - predictor(x - h * dx, t - h * dt).x0_hat) / (2 * h)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)
    assert float(expected.abs().min()) > 1e-3
