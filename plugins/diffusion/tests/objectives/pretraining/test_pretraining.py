"""Pretraining objectives on Gaussian data, where the least possible loss is the variance of x0 given xt."""

import pytest
import torch

from limbeck.conditions import Conditions
from limbeck.interfaces import Batch, Phase
from limbeck.plugins.registry import resolve
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianTeacher, gauss_hermite_batch
from limbeck_diffusion.formulas.weights import weighted_error
from limbeck_diffusion.objectives.pretraining.denoising import drop_condition

FlowMatching, Denoising = (resolve("objective", name) for name in ("flow_matching", "denoising"))

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(0.5)]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
PHASE = Phase("generator", ("generator",))


def expected_loss(objective, teacher, t: float, network=None):
    """The loss at one time t as an exact expectation over x0 and eps, in float64."""
    nodes, weight = gauss_hermite_batch(24, 2)
    x0 = float(teacher.mean) + float(teacher.factor) * nodes[:, :1]
    objective.setup(network if network is not None else teacher)
    low, high = objective.options.times.range
    u = torch.full((len(x0),), (t / teacher.process.t_max - low) / (high - low), dtype=torch.float64)
    rng = FixedDraws({"t": u, "eps": nodes[:, 1:]})
    return objective.loss(PHASE, Batch(x0=x0, weight=weight), rng)


def remaining_variance(process, std: float, t: float) -> tuple[float, tuple[float, ...]]:
    """Var(x0 | xt) = c^2 sigma^2 / (alpha^2 c^2 + sigma^2)."""
    coefficients = tuple(float(c) for c in process.coefficients(torch.tensor(t, dtype=torch.float64)))
    a, s = coefficients[:2]
    return std**2 * s**2 / (a**2 * std**2 + s**2), coefficients


@each_process
def test_flow_matching_of_the_exact_model_costs_the_variance_of_the_velocity(process):
    t = 0.3 * process.t_max if process.t_max < 2 else 1.0
    teacher = GaussianTeacher(process, mean=0.7, std=0.6)
    loss = expected_loss(FlowMatching(), teacher, t)
    # velocity = d_alpha x0 + d_sigma (xt - alpha x0) / sigma, given xt
    variance, (a, s, da, ds) = remaining_variance(process, 0.6, t)
    assert float(loss.value) == pytest.approx((da - ds * a / s) ** 2 * variance, rel=1e-9)
    assert float(loss.terms["x0_error"]) == pytest.approx(variance, rel=1e-9)


@each_process
@pytest.mark.parametrize("error", ["x0", "eps", "v", "velocity", "edm"])
def test_denoising_costs_the_variance_of_what_it_predicts(process, error):
    t = 0.3 * process.t_max if process.t_max < 2 else 1.0
    teacher = GaussianTeacher(process, mean=0.7, std=0.6)
    objective = Denoising(error=error, times={"kind": "uniform"}, sigma_data=0.6)
    variance, (a, s, da, ds) = remaining_variance(process, 0.6, t)
    weight = {
        "x0": 1.0,
        "eps": (a / s) ** 2,
        "v": ((a * a + s * s) / s) ** 2,
        "velocity": (da - ds * a / s) ** 2,
        "edm": ((s / a) ** 2 + 0.36) / (s / a * 0.6) ** 2,
    }[error]
    assert float(expected_loss(objective, teacher, t).value) == pytest.approx(weight * variance, rel=1e-9)


def test_the_edm_weight_makes_the_loss_of_gaussian_data_the_same_at_every_time():
    # sigma_data = std: weight * variance = 1, Karras et al. 2022, the reason for that weight
    teacher = GaussianTeacher(EDM(), mean=0.7, std=0.6)
    for t in (0.01, 0.5, 20.0):
        value = expected_loss(
            Denoising(times={"kind": "uniform", "range": (0.0, 1.0)}, sigma_data=0.6), teacher, t
        ).value
        assert float(value) == pytest.approx(1.0, rel=1e-6)


@each_process
def test_a_wrong_model_costs_more_and_its_gradient_points_home(process):
    t = 0.3 * process.t_max if process.t_max < 2 else 1.0
    teacher = GaussianTeacher(process, mean=0.7, std=0.6)
    best = expected_loss(FlowMatching(), teacher, t).value
    student = GaussianTeacher(process, mean=0.2, std=0.6).trainable_copy()
    loss = expected_loss(FlowMatching(), teacher, t, student)
    loss.backward()
    assert loss.value > best + 1e-3
    assert student.means.grad.item() < 0  # the mean must grow towards 0.7
    assert teacher.means.grad is None


def test_flow_matching_takes_the_coupling_of_stored_pairs():
    # reflow: with (noise, x0) on straight lines the velocity is known and the loss of the true map is zero
    process = RectifiedFlow()
    noise = torch.tensor([[1.0], [-0.5]], dtype=torch.float64)
    x0 = 0.7 + 0.6 * noise
    student = GaussianTeacher(process, mean=0.0, std=1.0).trainable_copy()
    objective = FlowMatching()
    objective.setup(student)
    rng = FixedDraws({"t": torch.tensor([0.5, 0.5], dtype=torch.float64)})  # no eps: it must not be drawn
    loss = objective.loss(PHASE, Batch(x0=x0, noise=noise), rng)
    t = 1e-4 + (1 - 1e-4) * 0.5
    xt = (1 - t) * x0 + t * noise
    x0_hat = student(xt, torch.full((2,), t, dtype=torch.float64)).x0_hat
    assert loss.value.item() == pytest.approx((((x0_hat - x0) / t) ** 2).mean().item(), rel=1e-12)
    assert rng.used == {"t"}


def test_label_dropout_replaces_that_share_of_conditions():
    teacher = GaussianTeacher(EDM(), mean=0.0, std=1.0, class_means=torch.tensor([[1.0], [2.0]]))
    cond = torch.arange(4000) % 2
    dropped = drop_condition(teacher, cond, 0.25, Rng(0))
    assert float((dropped == 2).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert (dropped[dropped != 2] == cond[dropped != 2]).all()
    assert drop_condition(teacher, cond, 0.0, FixedDraws({})) is cond
    assert (drop_condition(teacher, cond, 1.0, Rng(0)) == 2).all()


def test_label_dropout_takes_named_conditions_and_captions_row_by_row():
    class Named(GaussianTeacher):
        def null(self, cond):
            return cond.but(text=0 * cond["text"]) if isinstance(cond, Conditions) else [""] * len(cond)

    teacher = Named(EDM(), mean=0.0, std=1.0)
    cond = Conditions(text=torch.ones(4000, 3), azimuth=torch.arange(4000))
    dropped = drop_condition(teacher, cond, 0.25, Rng(0))
    assert float(dropped["text"][:, 0].mean()) == pytest.approx(0.75, abs=0.02)
    assert (dropped["text"].std(dim=1) == 0).all()  # a row is dropped altogether or not at all
    assert torch.equal(dropped["azimuth"], cond["azimuth"])
    words = drop_condition(teacher, ["a", "b"] * 500, 0.5, Rng(0))
    assert 0.4 < words.count("") / 1000 < 0.6 and set(words) == {"", "a", "b"}


def test_weighted_error_takes_one_time_per_frame():
    x0, x0_hat = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    # weights 1 and 5 on two frames of unit error
    assert weighted_error(x0_hat, x0, torch.tensor([[1.0, 5.0]])).item() == 3.0


def test_no_clean_samples_is_said():
    objective = Denoising()
    objective.setup(GaussianTeacher(EDM(), mean=0.0, std=1.0))
    with pytest.raises(ValueError, match="denoising regresses on clean samples, but the source yields none"):
        objective.loss(PHASE, Batch(noise=torch.zeros(2, 1)), Rng(0))


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="0 <= low < high <= 1"):
        FlowMatching(times={"range": (0.5, 0.2)})
    with pytest.raises(ValueError, match="extra_forbidden|Extra inputs"):
        Denoising(weight="edm")


@pytest.mark.parametrize("cls", [FlowMatching, Denoising])
def test_training_finds_the_law_of_the_data(cls):
    process = RectifiedFlow()
    student = GaussianTeacher(process, mean=-0.5, std=1.2).trainable_copy()
    objective = cls()
    objective.setup(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.03)
    for step in range(300):
        phase = objective.phases(step)[0]
        x0 = 0.7 + 0.4 * Rng(1, step).normal("data", (512, 1), torch.float64)
        objective.loss(phase, Batch(x0=x0), Rng(0, step, phase)).backward()
        optimizer.step()
        objective.zero_grad()
    assert student.mean.item() == pytest.approx(0.7, abs=0.05)
    assert student.factor.abs().item() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("cls", [FlowMatching, Denoising])
def test_parts_of_a_batch_average_to_the_loss_of_the_whole(cls):
    teacher = GaussianTeacher(VP(), mean=0.0, std=1.0, class_means=torch.tensor([[1.0], [2.0]]))
    x0, cond = Rng(0).normal("x", (8, 1)), torch.arange(8) % 2
    objective = cls(label_dropout=0.5)
    objective.setup(teacher)
    whole = objective.loss(PHASE, Batch(x0=x0, cond=cond), Rng(0, 3, PHASE)).value
    parts = [
        objective.loss(
            PHASE, Batch(x0=x0[4 * k :][:4], cond=cond[4 * k :][:4]), Rng(0, 3, PHASE, part=k, parts=2)
        ).value
        for k in range(2)
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)
