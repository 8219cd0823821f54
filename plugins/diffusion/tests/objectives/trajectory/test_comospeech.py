"""CoMoSpeech's configuration and its prior mean on a Gaussian, where everything is known (m, c, mu below)."""

import math
from itertools import pairwise

import pytest
import torch

from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.plugins.registry import resolve
from limbeck.process.gaussian import EDM, RectifiedFlow, TrigFlow, VPCosine
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianTeacher, TinyNetwork, gauss_hermite_batch
from limbeck_diffusion.formulas.consistency import consistency_pair
from limbeck_diffusion.formulas.distances import event_mean, l2, pseudo_huber, pseudo_huber_elements
from limbeck_diffusion.networks.prior_mean import PriorMeanDenoiser, with_prior_mean, without_prior_mean
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.samplers.gaussian import STEPS, x0_predictor

CoMoSpeech = resolve("objective", "comospeech")

M, C, MU = 0.4, 0.5, 1.3
SIGMA_MIN = EDM().sigma_min
PHASE = Phase("generator", ("generator",))


def gaussian():
    return GaussianTeacher(EDM(), mean=M, std=C)


def exact(x, t, mu=MU):
    """The end, at sigma_min, of the trajectory through x when z ~ N(mu, 1): sheet audio-video, section 4.1."""
    sigma = t[:, None]
    scale = torch.sqrt((C**2 + SIGMA_MIN**2) / (C**2 + sigma**2))
    return M + (x - sigma * mu - M) * scale + SIGMA_MIN * mu


def shifted_teacher(x, t):
    """D(x, sigma) of the teacher of zero mean, asked at y = x - sigma mu."""
    return x0_predictor(gaussian(), None)(without_prior_mean(EDM(), x, t, torch.full_like(x, MU)), t)


def euler(x, t, s):
    """One Euler step of dx/dsigma = (x - D) / sigma, where D answers at y."""
    return x + (s - t)[:, None] * (x - shifted_teacher(x, t)) / t[:, None]


def expected_loss(levels, step):
    """E over all levels and, by quadrature, over x0 and z of the exact student's residual on a grid of N levels."""
    grid = time_grid(EDM(), levels, "karras")[:-1]
    nodes, weights = gauss_hermite_batch(8, dims=2)
    losses = []
    for upper, lower in pairwise(grid):
        t, s = upper.expand(len(nodes)), lower.expand(len(nodes))
        xt = M + C * nodes[:, :1] + t[:, None] * (MU + nodes[:, 1:])
        pair = consistency_pair(exact, exact, xt, t, step(xt, t, s), s, boundary=SIGMA_MIN)
        losses.append(float((weights * l2(*pair)).sum()))
    return sum(losses) / len(losses)


def test_the_exact_ode_step_leaves_nothing_and_eulers_error_falls_by_sixteen():
    def exactly(x, t, s):
        # onto the same trajectory at s: y - m scales with the marginal's standard deviation
        scale = torch.sqrt((C**2 + s**2) / (C**2 + t**2))[:, None]
        return M + (x - t[:, None] * MU - M) * scale + s[:, None] * MU

    assert expected_loss(25, exactly) < 1e-25
    found = {n: expected_loss(n, euler) for n in (25, 50, 100, 200)}
    # the sheet's own figures for these m, c, mu
    assert found[25] == pytest.approx(2.25e-5, rel=0.1)
    assert found[50] == pytest.approx(1.34e-6, rel=0.1)
    assert found[100] == pytest.approx(8.0e-8, rel=0.1)
    assert found[200] == pytest.approx(4.9e-9, rel=0.1)
    assert found[50] / found[100] == pytest.approx(16, rel=0.1)


def test_a_prior_mean_is_the_zero_mean_problem_at_another_place():
    process, nodes = EDM(), gauss_hermite_batch(6, dims=2)[0]
    y0, t = M + C * nodes[:, :1], torch.full((len(nodes),), 3.0, dtype=torch.float64)
    y = process.add_noise(y0, nodes[:, 1:], t)
    mu = torch.full_like(y, MU)
    x = with_prior_mean(process, y, t, mu)
    torch.testing.assert_close(x, y0 + 3.0 * (MU + nodes[:, 1:]))
    torch.testing.assert_close(without_prior_mean(process, x, t, mu), y)
    # student(mu) on x equals student(0) on y, beside what the states at sigma_min differ by
    torch.testing.assert_close(exact(x, t) - SIGMA_MIN * MU, exact(y, t, mu=0.0))
    assert (exact(x, t, mu=0.0) - exact(y, t, mu=0.0)).abs().min() > 0.5  # and without the mean it does not
    # one teacher step in y is the step in x
    s = t - 1.0
    stepped = STEPS["euler"](x0_predictor(gaussian(), None), process, y, t, s)
    torch.testing.assert_close(with_prior_mean(process, stepped, s, mu), euler(x, t, s))


def test_the_denoiser_with_a_prior_mean_asks_its_network_at_x_and_answers_in_y():
    torch.manual_seed(0)
    network, means = TinyNetwork((2,)), torch.tensor([[0.5, -1.0], [2.0, 1.0], [0.0, 0.0]])
    space = Space((2,))
    plain = Denoiser(network, EDM(), space, prediction="edm", null=2)
    moved = PriorMeanDenoiser(network, EDM(), space, prediction="edm", null=2, means=means)
    y, t, labels = torch.randn(3, 2), torch.tensor([0.1, 2.0, 40.0]), torch.tensor([0, 1, 2])
    x = y + t[:, None] * means[labels]
    assert torch.equal(moved(y, t, labels).x0_hat, plain(x, t, labels).x0_hat)
    assert not torch.allclose(moved(y, t, labels).x0_hat, plain(y, t, labels).x0_hat)
    assert torch.equal(moved(y, t, None).x0_hat, plain(y, t, None).x0_hat)  # no label: the last mean, 0 here
    assert moved.state_dict().keys() == plain.state_dict().keys()  # weights can be those of a teacher without one


def test_the_presets_loss_is_that_of_the_formula():
    # an Euler step to the level below, of 49 steps; the last, to sigma_min, has the state itself as its target
    teacher = gaussian()
    student = GaussianTeacher(EDM(), mean=0.9, std=0.8).trainable_copy(predicts="flow_map")
    objective = CoMoSpeech()
    objective.setup(student, teacher)
    count = 49
    grid = time_grid(EDM(), 50, "karras")
    assert grid[-2] == pytest.approx(SIGMA_MIN) and len(objective.neighbours.chances) == count
    x0, eps = Rng(0).normal("x0", (count, 1), torch.float64), Rng(1).normal("eps", (count, 1), torch.float64)
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = objective.loss(PHASE, Batch(x0=x0), FixedDraws({"t": u, "eps": eps})).value
    t, s = grid[:count], grid[1 : count + 1]
    xt = x0 + t[:, None] * eps
    xs = xt + (s - t)[:, None] * (xt - teacher(xt, t).x0_hat) / t[:, None]
    end = torch.cat([student(xs[:-1], s[:-1]).x0_hat, xs[-1:]])
    expected = (student(xt, t).x0_hat - end).square().mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6) and found.item() > 1e-4


def test_the_preset_is_consistency_with_the_papers_settings():
    options = CoMoSpeech().options
    assert isinstance(CoMoSpeech(), Consistency)
    assert (options.solver, options.times.nodes, options.times.spacing) == ("ddim", 50, "karras")
    assert (options.metric.distance, options.target.decay, options.end.kind) == ("l2", 0.95, "sigma_min")
    assert options.times.kind is None  # uniform over the levels


@pytest.mark.parametrize("process", [RectifiedFlow(), VPCosine(), TrigFlow(0.5)], ids=lambda p: type(p).__name__)
def test_it_is_the_same_method_on_every_process(process):
    count = 49
    x0, eps = Rng(0).normal("x0", (count, 1), torch.float64), Rng(1).normal("eps", (count, 1), torch.float64)
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count

    def distances(chosen):
        student = GaussianTeacher(chosen, mean=0.9, std=0.8).trainable_copy(predicts="flow_map")
        objective = CoMoSpeech(target={"decay": 0.0})
        objective.setup(student, GaussianTeacher(chosen, mean=M, std=C))
        neighbours, batch = objective.neighbours, Batch(x0=x0)
        states = neighbours.states(batch, FixedDraws({"t": u, "eps": eps}))
        predict = objective.ops.predictor(student, None)
        return neighbours.distances(predict, predict, states, batch).total[
            1:
        ]  # the highest level is t_max, where processes differ

    found, expected = distances(process), distances(EDM())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-12)
    assert expected.mean() > 1e-4


def test_a_boundary_needs_a_grid_of_noise_levels():
    with pytest.raises(ValueError, match="goes with times.schedule: grid and times.spacing karras or log_snr"):
        Consistency(end={"kind": "sigma_min"}, times={"schedule": "ratio"})
    flow = GaussianTeacher(RectifiedFlow(), mean=0.0, std=1.0)
    with pytest.raises(ValueError, match=r"the grid is uniform in t\. Add times.spacing: karras"):
        Consistency(end={"kind": "sigma_min"}).setup(flow.trainable_copy(predicts="flow_map"), flow)
    objective = Consistency(end={"kind": "sigma_min"}, times={"spacing": "karras", "nodes": 6})
    objective.setup(flow.trainable_copy(predicts="flow_map"), flow)
    assert objective.neighbours.boundary == pytest.approx(0.002 / 1.002)


def test_a_masked_mean_says_what_it_divides_by():
    error = torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]])
    frames = torch.tensor([[[True, True, True, False]]])
    assert event_mean(error, frames).item() == pytest.approx((1 + 2 + 3 + 5 + 6 + 7) / 6)
    assert event_mean(error, frames, "counted").item() == pytest.approx(24 / 8)
    assert event_mean(error).item() == 4.5
    nothing = torch.zeros_like(frames)
    assert event_mean(error, nothing).item() == event_mean(error, nothing, "counted").item() == 0
    a, b = error, torch.zeros_like(error)
    squares = (1 + 4 + 9 + 25 + 36 + 49) / 6
    assert l2(a, b, frames).item() == pytest.approx(squares)
    assert pseudo_huber(a, b, 0.5, frames).item() == pytest.approx(math.sqrt(squares + 0.25) - 0.5)
    each = [math.sqrt(x * x + 0.25) - 0.5 for x in (1, 2, 3, 5, 6, 7)]
    assert pseudo_huber_elements(a, b, 0.5, frames, "counted").item() == pytest.approx(sum(each) / 8)


@pytest.mark.parametrize("padding, share", [("excluded", 1.0), ("counted", 0.5)])
def test_masked_elements_weigh_nothing_in_the_loss(padding, share):
    teacher = GaussianTeacher(EDM(), mean=torch.full((4,), M), std=C)
    student = GaussianTeacher(EDM(), mean=torch.full((4,), 0.9), std=0.8).trainable_copy(predicts="flow_map")
    x0 = Rng(0).normal("x0", (8, 4), torch.float64)
    draws = {"t": torch.full((8,), 0.4, dtype=torch.float64), "eps": Rng(1).normal("eps", (8, 4), torch.float64)}
    mask = torch.tensor([[True, True, False, False]]).expand(8, 4)

    def loss(values, mask=None):
        objective = CoMoSpeech(metric={"padding": padding})
        objective.setup(student, teacher)
        return objective.loss(PHASE, Batch(x0=values, loss_mask=mask), FixedDraws(draws)).value.item()

    spoiled = torch.where(mask, x0, 100.0)
    assert loss(x0, mask) == pytest.approx(loss(spoiled, mask), rel=1e-9)
    assert loss(x0) != pytest.approx(loss(spoiled), rel=0.1)
    # the elements are independent: the mean over the first two is the loss of a problem of two elements
    half_teacher = GaussianTeacher(EDM(), mean=torch.full((2,), M), std=C)
    half_student = GaussianTeacher(EDM(), mean=torch.full((2,), 0.9), std=0.8).trainable_copy(predicts="flow_map")
    objective = CoMoSpeech()
    objective.setup(half_student, half_teacher)
    two = FixedDraws({"t": draws["t"], "eps": draws["eps"][:, :2]})
    alone = objective.loss(PHASE, Batch(x0=x0[:, :2]), two).value.item()
    assert loss(x0, mask) == pytest.approx(share * alone, rel=1e-6)
