"""The mixture oracle against derivatives, integration and quantiles."""

import pytest
import torch

import limbeck
from limbeck.networks.guidance import Guided, guide
from limbeck.process.gaussian import EDM, KINDS, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.testing import GaussianMixtureTeacher, GaussianTeacher

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(sigma_data=0.5)]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


def line(process):
    return GaussianMixtureTeacher(process, [-2.0, 0.5, 3.0], [0.4, 0.2, 0.7], [0.3, 0.5, 0.2])


def plane(process):
    means = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    return GaussianMixtureTeacher(process, means, 0.3)


def states(teacher, count=7):
    t = torch.linspace(0.05, 0.95, count, dtype=torch.float64) * teacher.process.t_max
    x = torch.cat([teacher.sample(1, limbeck.rng(0, i), t=float(v)) for i, v in enumerate(t)])
    return x, t


@every_process
@pytest.mark.parametrize("make", [line, plane])
def test_score_is_the_gradient_of_the_log_density(process, make):
    teacher = make(process)
    x, t = states(teacher)
    for cond in (None, torch.tensor([0, 1, 2, 3, 0, 1, 3])):
        y = x.clone().requires_grad_(True)
        expected = torch.autograd.grad(teacher.log_density(y, t, cond).sum(), y)[0]
        torch.testing.assert_close(teacher.score(x, t, cond), expected, rtol=1e-9, atol=1e-11)
        assert float(expected.abs().max()) > 1e-3


@every_process
def test_predictions_are_conversions_of_each_other(process):
    teacher = plane(process)
    x, t = states(teacher)
    said = {kind: getattr(teacher, "x0_hat" if kind == "x0" else kind)(x, t) for kind in KINDS}
    assert torch.equal(said["x0"], teacher(x, t).x0_hat)
    for given in KINDS:
        for wanted in KINDS:
            torch.testing.assert_close(
                process.convert(said[given], given, wanted, x, t), said[wanted], rtol=1e-7, atol=1e-8
            )


@every_process
def test_a_mixture_of_one_is_a_gaussian(process):
    one = GaussianMixtureTeacher(process, [0.8], [0.6])
    gaussian = GaussianTeacher(process, 0.8, 0.6)
    x, t = states(one)
    torch.testing.assert_close(one(x, t).x0_hat, gaussian(x, t).x0_hat)
    torch.testing.assert_close(one.flow_map(x, t, t / 3), gaussian.flow_map(x, t, t / 3), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(one.log_density(x, t), gaussian.log_density(x, t))


@every_process
def test_the_quantile_map_equals_fine_integration(process):
    teacher = line(process)
    x, t = states(teacher)
    for s in (0.3 * t, torch.zeros_like(t)):
        exact = teacher.flow_map(x, t, s)
        torch.testing.assert_close(teacher.integrate(x, t, s, steps=500), exact, rtol=1e-6, atol=1e-6)
    assert float((exact - x).abs().max()) > 0.1


@every_process
def test_the_quantile_map_keeps_its_digits_in_the_tails(process):
    teacher = line(process)
    t = torch.full((4,), 0.6, dtype=torch.float64) * process.t_max
    scale = float(process.coefficients(t[:1]).sigma_t)
    x = torch.tensor([[-9.0], [-7.0], [7.0], [9.0]], dtype=torch.float64) * max(scale, 1.0)
    there = teacher.flow_map(x, t, t / 2)
    torch.testing.assert_close(teacher.flow_map(there, t / 2, t), x, rtol=1e-9, atol=1e-9)
    assert bool((there.diff(dim=0) > 0).all())


@every_process
def test_the_quantile_map_carries_its_derivative(process):
    # dPhi/dx = p_t(x) / p_s(y)
    teacher = line(process)
    x, t = states(teacher)
    x.requires_grad_(True)
    y = teacher.flow_map(x, t, t / 2)
    slope = torch.autograd.grad(y.sum(), x)[0]
    expected = (teacher.log_density(x, t) - teacher.log_density(y, t / 2)).exp()[:, None]
    torch.testing.assert_close(slope, expected.detach(), rtol=1e-8, atol=1e-10)


def test_two_dimensional_trajectories_compose_and_end_in_the_data():
    teacher = plane(RectifiedFlow())
    eps = limbeck.rng(0).normal("eps", (400, 2), torch.float64)
    one, zero = torch.ones(400, dtype=torch.float64), torch.zeros(400, dtype=torch.float64)
    whole = teacher.flow_map(eps, one, zero, steps=200)
    half = teacher.flow_map(teacher.flow_map(eps, one, one / 2, steps=200), one / 2, zero, steps=200)
    torch.testing.assert_close(whole, half, rtol=1e-4, atol=1e-4)
    shares = torch.bincount(teacher.nearest(whole), minlength=3) / 400
    assert float(shares.min()) > 0.25
    distance = (whole - teacher.means[teacher.nearest(whole)]).norm(dim=1)
    assert float(distance.square().mean()) == pytest.approx(2 * 0.09, rel=0.2)


def test_samples_have_the_weights_and_moments_of_the_mixture():
    teacher = line(RectifiedFlow())
    x = teacher.sample(40_000, limbeck.rng(5))
    weights = torch.tensor([0.3, 0.5, 0.2]).double()
    shares = torch.bincount(teacher.nearest(x), minlength=3) / 40_000
    torch.testing.assert_close(shares, weights.float(), atol=0.01, rtol=0)
    means, variances = torch.tensor([-2.0, 0.5, 3.0]).double(), torch.tensor([0.16, 0.04, 0.49]).double()
    mean = (weights * means).sum()
    assert float(x.mean()) == pytest.approx(float(mean), abs=0.03)
    assert float(x.var()) == pytest.approx(float((weights * (variances + means**2)).sum() - mean**2), rel=0.03)
    only = teacher.sample(1000, limbeck.rng(5), torch.full((1000,), 2))
    assert float(only.mean()) == pytest.approx(3.0, abs=0.1)


def test_one_component_as_condition_and_guidance_between():
    teacher = line(RectifiedFlow())
    x, t = states(teacher)
    cond = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for k in range(3):
        alone = GaussianTeacher(RectifiedFlow(), float(teacher.means[k]), float(teacher.stds[k]))
        rows = cond == k
        torch.testing.assert_close(teacher(x, t, cond).x0_hat[rows], alone(x, t).x0_hat[rows])
    torch.testing.assert_close(teacher(x, t, teacher.null(cond)).x0_hat, teacher(x, t).x0_hat)
    expected = guide(teacher(x, t, cond).x0_hat, teacher(x, t).x0_hat, 2.0)
    torch.testing.assert_close(Guided(teacher, 2.0)(x, t, cond).x0_hat, expected)


def test_a_trainable_copy_is_the_same_closed_form():
    teacher = plane(EDM())
    x, t = states(teacher)
    copy = teacher.trainable_copy()
    assert torch.equal(copy(x, t).x0_hat, teacher(x, t).x0_hat)
    copy(x, t).x0_hat.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in copy.parameters())
    assert not any(p.requires_grad for p in teacher.parameters())


def test_a_mixture_refuses_components_without_width_or_weight():
    with pytest.raises(ValueError, match="needs 2 positive stds and weights"):
        GaussianMixtureTeacher(EDM(), [0.0, 1.0], [0.1, 0.0])
    with pytest.raises(ValueError, match="needs 2 positive stds and weights"):
        GaussianMixtureTeacher(EDM(), [0.0, 1.0], 0.1, [1.0, 1.0, 1.0])
