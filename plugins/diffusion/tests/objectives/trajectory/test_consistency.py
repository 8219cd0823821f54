"""Consistency distillation and training on distributions whose consistency function is known."""

import math

import pytest
import torch
from torch import nn

from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianMixtureTeacher, GaussianTeacher, TinyNetwork
from limbeck_diffusion.formulas.consistency import consistency_pair, neighbour_times, ratio_times
from limbeck_diffusion.formulas.distances import distance, l2, pseudo_huber, pseudo_huber_elements
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.samplers.gaussian import STEPS, Multistep, x0_predictor

PROCESSES = [RectifiedFlow(), RectifiedFlow(shift=3.0), VP(), VPCosine(), EDM(), TrigFlow(), TrigFlow(0.5)]
each_process = pytest.mark.parametrize(
    "process", PROCESSES, ids=lambda p: f"{type(p).__name__}{getattr(p, 'shift', '')}"
)
PHASE = Phase("generator", ("generator",))


def gaussian(process, mean=0.7, std=0.6, **more):
    return GaussianTeacher(process, mean=mean, std=std, **more)


def exact_student(teacher):
    """Answers f(xt, t) of the teacher's distribution; its mean and factor can learn."""
    return teacher.trainable_copy(predicts="flow_map")


def data(teacher, count=256, **where):
    return Batch(x0=teacher.sample(count, Rng(11, **where)))


def setup(teacher, student=None, **options):
    objective = Consistency(**options)
    objective.setup(student if student is not None else exact_student(teacher), teacher)
    return objective


def middle(process):
    return 0.5 if process.t_max < 2 else 1.0


# --- the pair --------------------------------------------------------------------------------------------------------


@each_process
@pytest.mark.parametrize("solver, order", [("euler", 1), ("ddim", 1), ("heun", 2)])
def test_the_residual_of_the_exact_student_is_the_solvers_error(process, solver, order):
    # a solver of order p is wrong by h^(p+1) after one step, so the squared residual falls as h^(2p + 2)
    teacher = gaussian(process)
    x0, eps = teacher.sample(64, Rng(0)), Rng(1).normal("eps", (64, 1), torch.float64)
    residual = []
    for h in (0.05, 0.025):
        t = torch.full((64,), middle(process), dtype=torch.float64)
        xt = process.add_noise(x0, eps, t)
        xs = STEPS[solver](x0_predictor(teacher, None), process, xt, t, t - h)
        f = teacher.consistency
        residual.append(float(l2(*consistency_pair(f, f, xt, t, xs, t - h)).mean()))
    assert residual[1] > 0
    assert math.log2(residual[0] / residual[1]) == pytest.approx(2 * order + 2, abs=0.5)


@each_process
def test_the_exact_map_as_solver_leaves_nothing(process):
    teacher = gaussian(process)
    t = torch.full((8,), middle(process), dtype=torch.float64)
    s = t - 0.2
    xt = process.add_noise(teacher.sample(8, Rng(0)), Rng(1).normal("eps", (8, 1), torch.float64), t)
    f = teacher.consistency
    assert float(l2(*consistency_pair(f, f, xt, t, teacher.flow_map(xt, t, s), s)).max()) < 1e-24
    wrong = gaussian(process, mean=0.9).consistency
    assert float(l2(*consistency_pair(wrong, wrong, xt, t, teacher.flow_map(xt, t, s), s)).min()) > 1e-7


def test_in_one_dimension_the_exact_map_of_a_mixture_leaves_nothing():
    teacher = GaussianMixtureTeacher(RectifiedFlow(), means=[-1.0, 1.5], stds=0.4)
    t = torch.full((7,), 0.8, dtype=torch.float64)
    xt, s = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None], t - 0.3

    def f(x, time):
        return teacher.flow_map(x, time, torch.zeros_like(time))

    assert float(l2(*consistency_pair(f, f, xt, t, teacher.flow_map(xt, t, s), s)).max()) < 1e-16


def test_at_s_equal_zero_the_target_is_the_state_itself_bit_for_bit():
    x, t = torch.randn(3, 2), torch.tensor([0.5, 0.5, 0.5])
    s = torch.tensor([0.0, 0.25, 0.0])
    asked = []

    def target(state, time):
        asked.append(time)
        return torch.full_like(state, 7.0)

    _, end = consistency_pair(lambda a, b: a, target, x, t, x + 1, s)
    assert torch.equal(end[0], x[0] + 1) and torch.equal(end[2], x[2] + 1) and (end[1] == 7).all()
    assert (asked[0] > 0).all()  # no network is asked at t = 0


# --- the objective ---------------------------------------------------------------------------------------------------


@each_process
@pytest.mark.parametrize("solver, slope", [("euler", 4.0), ("heun", 4.0)])
def test_the_loss_of_the_exact_student_vanishes_as_the_grid_is_refined(process, solver, slope):
    teacher = gaussian(process)
    batch = data(teacher, 2000)
    coarse, fine = (
        float(
            setup(teacher, solver=solver, times={"nodes": n}, metric={"distance": "l2"})
            .loss(PHASE, batch, Rng(0))
            .value.detach()
        )
        for n in (32, 64)
    )
    assert 0 < fine < 1e-3
    # euler: h^4. Heun's h^6 holds inside; its last step, to 0, is Euler's and one of N steps, which leaves h^5
    assert math.log2(coarse / fine) > slope - 0.4


@each_process
def test_a_wrong_student_pays_and_one_step_brings_it_closer(process):
    teacher = gaussian(process, mean=0.7)
    student = gaussian(process, mean=0.2).trainable_copy(predicts="flow_map")
    objective = setup(teacher, student, times={"nodes": 16}, metric={"distance": "l2"})
    loss = objective.loss(PHASE, data(teacher), Rng(0))
    exact = setup(teacher, times={"nodes": 16}, metric={"distance": "l2"}).loss(PHASE, data(teacher), Rng(0))
    assert loss.value.item() > 10 * exact.value.item()
    loss.backward()
    assert student.means.grad.item() < 0  # descent raises the mean towards 0.7
    assert loss.terms["residual"].item() == pytest.approx(loss.value.item())


@pytest.mark.parametrize("mode", ["distillation", "training"])
def test_gradients_reach_the_student_through_its_noisier_call_only(mode):
    process = RectifiedFlow()
    teacher = gaussian(process)
    batch = data(teacher, 32)
    batch.x0.requires_grad_(True)
    teacher.requires_grad_(True)  # even then
    student = exact_student(teacher)
    calls = []
    objective = setup(teacher, student, mode=mode, times={"nodes": 4}, target={"decay": 0.9})
    objective._boundary_checked = True
    student.register_forward_hook(lambda m, args, out: calls.append((args[1], out.x0_hat.requires_grad)))
    targets = []
    objective.target.register_forward_hook(lambda m, args, out: targets.append((args[1], out.x0_hat.requires_grad)))
    objective.loss(PHASE, batch, Rng(0)).backward()
    assert [grad for _, grad in calls] == [True] and [grad for _, grad in targets] == [False]
    assert student.factor.grad is not None
    assert all(p.grad is None for p in [*teacher.parameters(), *objective.target.parameters()])
    assert (calls[0][0] >= targets[0][0]).all()


def test_training_mode_needs_no_teacher_and_shares_the_noise():
    process = EDM()
    teacher = gaussian(process)
    objective = Consistency(mode="training", times={"nodes": 6})
    objective.setup(exact_student(teacher))
    x0, eps = teacher.sample(6, Rng(0)), Rng(1).normal("eps", (6, 1), torch.float64)
    u = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 0.99], dtype=torch.float64)
    xt, t, xs, s = objective.neighbours.states(Batch(x0=x0), FixedDraws({"t": u, "eps": eps}))
    grid = time_grid(process, 6, "karras")
    torch.testing.assert_close(t, grid[:-1])
    torch.testing.assert_close(s, grid[1:])
    torch.testing.assert_close(xt, x0 + grid[:-1, None] * eps)
    torch.testing.assert_close(xs, x0 + grid[1:, None] * eps)
    assert torch.equal(xs[-1], x0[-1])  # s = 0 is the clean sample


def test_in_training_mode_the_mean_gradient_vanishes_with_the_step_and_the_variance_does_not():
    # Song et al. 2023, Theorem 2: per sample the target is noise, on average it is right
    process = EDM()
    teacher = gaussian(process, mean=0.0, std=0.5)
    mean, rms = [], []
    for h in (0.2, 0.02):
        student = exact_student(teacher)
        t = torch.full((40_000,), 1.0, dtype=torch.float64)
        x0 = teacher.sample(len(t), Rng(0))
        eps = Rng(1).normal("eps", x0.shape, torch.float64)
        f = x0_predictor(student, None)
        prediction, end = consistency_pair(f, f, x0 + t[:, None] * eps, t, x0 + (1 - h) * eps, t - h)
        # gradient with respect to a scale of the prediction: 2 (pred - end) pred / h
        per_sample = (2 * (prediction - end) * prediction / h).detach()
        mean.append(abs(float(per_sample.mean())))
        rms.append(float(per_sample.square().mean().sqrt()))
    assert mean[1] < 0.25 * mean[0] and mean[0] > 0.005
    assert rms[1] > 0.5 * rms[0]


def test_guidance_is_the_teachers_business():
    # classes with one covariance: the guided teacher is a Gaussian at 0 + 3 (1 - 0), whose exact student is known
    process = RectifiedFlow()
    teacher = GaussianTeacher(process, mean=0.0, std=0.5, class_means=torch.tensor([[1.0]]))
    batch = Batch(x0=teacher.sample(512, Rng(0)), cond=torch.zeros(512, dtype=torch.long))
    student = teacher.guided(3.0).trainable_copy(predicts="flow_map")
    loss = (
        setup(Guided(teacher, 3.0), student, times={"nodes": 50}, metric={"distance": "l2"})
        .loss(PHASE, batch, Rng(0))
        .value.item()
    )
    unguided = (
        setup(teacher, student, times={"nodes": 50}, metric={"distance": "l2"}).loss(PHASE, batch, Rng(0)).value.item()
    )
    assert loss < 1e-6 < 1e-4 < unguided


def test_states_of_a_trajectory_step_to_the_next_node_below():
    process = RectifiedFlow()
    teacher = gaussian(process)
    objective = setup(teacher, times={"nodes": 4}, solver="euler")
    t = torch.tensor([1.0, 0.75, 0.6, 0.25])
    xt = torch.randn(4, 1)
    state, time, _, s = objective.neighbours.states(Batch(xt=xt, t=t), FixedDraws({}))
    assert state is xt and time.tolist() == pytest.approx(t.tolist())
    assert s.tolist() == [0.75, 0.5, 0.5, 0.0]


def test_neighbour_times_survive_single_precision_nodes():
    process = EDM()
    grid = time_grid(process, 18, "karras")
    torch.testing.assert_close(neighbour_times(process, grid[:-1].float(), grid), grid[1:])


def test_ratio_times_follow_ect_and_close_in():
    process = EDM()
    t = torch.tensor([0.05, 1.0, 80.0], dtype=torch.float64)
    # ECT: t (1 - n(t) / 2^(stage+1)), n = 1 + 8 sigmoid(-t), floored at 0
    n = 1 + 8 * torch.sigmoid(-t)
    for stage in (0, 3, 7):
        torch.testing.assert_close(ratio_times(process, t, stage), (t * (1 - n / 2 ** (stage + 1))).clamp_min(0))
    assert ratio_times(process, t, 0)[0] == 0  # the first stage is denoising at small noise
    # a rectified flow at t = 1/2 has sigma/alpha = 1, and at t = 1 an infinite one, where s must still lie below
    s = ratio_times(RectifiedFlow(), torch.tensor([0.5, 1.0], dtype=torch.float64), 7)
    sigma = float(ratio_times(process, t, 7)[1])
    assert float(s[0]) == pytest.approx(sigma / (1 + sigma)) and float(s[1]) < 1


def test_the_ratio_schedule_advances_by_steps():
    objective = setup(gaussian(EDM()), times={"schedule": "ratio", "ratio": {"stage_steps": 10, "stages": 3}})
    batch = data(objective.teacher, 64)
    gaps = []
    for step in (0, 10, 20, 500):
        _, t, _, s = objective.neighbours.states(batch, Rng(0, step))
        gaps.append(float((1 - s / t).mean()))
    # the same distribution of t at other draws: the mean gap falls from stage to stage, then stays
    assert gaps[0] > gaps[1] > gaps[2] and gaps[3] == pytest.approx(gaps[2], abs=0.1)


def test_the_inverse_step_weight_divides_by_the_step():
    teacher = gaussian(RectifiedFlow())
    student = gaussian(RectifiedFlow(), mean=0.2).trainable_copy(predicts="flow_map")
    plain, weighted = (
        setup(teacher, student, times={"nodes": 5}, metric={"distance": "l2"}, weight=w)
        .loss(PHASE, data(teacher), Rng(0))
        .value.item()
        for w in ("none", "inverse_step")
    )
    assert weighted == pytest.approx(5 * plain, rel=1e-6)


def test_batch_weights_average():
    teacher = gaussian(RectifiedFlow())
    student = gaussian(RectifiedFlow(), mean=0.2).trainable_copy(predicts="flow_map")
    x0, eps = teacher.sample(2, Rng(0)), torch.zeros(2, 1, dtype=torch.float64)
    u = torch.full((2,), 0.3, dtype=torch.float64)

    def loss(weight):
        rng = FixedDraws({"t": u, "eps": eps})
        return setup(teacher, student, times={"nodes": 4}).loss(PHASE, Batch(x0=x0, weight=weight), rng).value.item()

    only_first, only_second = loss(torch.tensor([1.0, 0.0])), loss(torch.tensor([0.0, 1.0]))
    assert only_first != only_second
    assert loss(torch.tensor([0.25, 0.75])) == pytest.approx(0.25 * only_first + 0.75 * only_second)


# --- target network --------------------------------------------------------------------------------------------------


def test_the_target_moves_once_per_step_towards_the_student():
    teacher = gaussian(RectifiedFlow())
    student = exact_student(teacher)
    objective = setup(teacher, student, target={"decay": 0.9})
    batch = data(teacher, 8)
    objective.loss(PHASE, batch, Rng(0, 0))
    assert objective.target.mean.item() == pytest.approx(0.7)
    with torch.no_grad():
        student.means.fill_(1.7)
    objective.loss(PHASE, batch, Rng(0, 0))  # a second micro-batch of the same step
    assert objective.target.mean.item() == pytest.approx(0.7)
    objective.loss(PHASE, batch, Rng(0, 1))
    assert objective.target.mean.item() == pytest.approx(0.8)  # 0.9 * 0.7 + 0.1 * 1.7
    assert "target" not in objective.roles() and list(objective.roles()) == ["generator"]


def test_the_target_survives_a_checkpoint():
    teacher = gaussian(RectifiedFlow())

    def fresh():
        return setup(
            teacher, gaussian(RectifiedFlow(), mean=1.7).trainable_copy(predicts="flow_map"), target={"decay": 0.9}
        )

    batch, objective = data(teacher, 8), fresh()
    objective.loss(PHASE, batch, Rng(0, 0))
    with torch.no_grad():
        objective.target.means.fill_(0.5)
    state = {k: v.clone() for k, v in objective.state_dict().items()}
    assert all(isinstance(v, torch.Tensor) for v in state.values())
    expected = objective.loss(PHASE, batch, Rng(0, 1)).value.item()
    resumed = fresh()
    resumed.load_state_dict(state)
    assert resumed.loss(PHASE, batch, Rng(0, 1)).value.item() == expected
    assert setup(teacher).state_dict() == {}
    with pytest.raises(ValueError, match="keeps no state"):
        setup(teacher).load_state_dict(state)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.dropout = nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x, time, cond=None):
        return self.dropout(self.inner(x))


def test_both_branches_drop_the_same_units():
    # x0_hat = x - t u with u = dropout(W x): with one mask for both, and t = 0.5, s = 0.5 - tiny, both branches agree
    process = RectifiedFlow()
    torch.manual_seed(0)
    student = Denoiser(Dropping(), process, Space((8,)), prediction="velocity").train()
    teacher = GaussianTeacher(process, mean=torch.zeros(8), std=1.0)
    objective = setup(teacher, student, times={"nodes": 1000}, metric={"distance": "l2"}, solver="euler")
    batch = Batch(x0=torch.randn(64, 8), cond=None)
    u = torch.full((64,), 0.5)
    draws = FixedDraws({"t": u, "eps": torch.randn(64, 8)})
    shared = objective.loss(PHASE, batch, draws).value.item()
    objective.shares_dropout = False
    apart = objective.loss(PHASE, batch, draws).value.item()
    assert shared < 1e-4 < 1e-2 < apart


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["velocity", "v", "edm"])
@pytest.mark.parametrize("process", [RectifiedFlow(), VP(), EDM()], ids=lambda p: type(p).__name__)
def test_parameterisations_with_the_boundary_are_accepted(process, prediction):
    student = Denoiser(TinyNetwork((2,)), process, Space((2,)), prediction=prediction)
    teacher = GaussianTeacher(process, mean=torch.zeros(2), std=1.0)
    loss = setup(teacher, student).loss(PHASE, Batch(x0=torch.randn(16, 2)), Rng(0))
    assert torch.isfinite(loss.value)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters())


def test_a_student_without_the_boundary_is_refused():
    process = EDM()
    teacher = GaussianTeacher(process, mean=torch.zeros(2), std=1.0)
    with pytest.raises(ValueError, match=r"boundary f\(x, 0\) = x.*predicts x0 directly.*'velocity', 'v' or 'edm'"):
        setup(teacher, Denoiser(TinyNetwork((2,)), process, Space((2,)), prediction="x0"))

    student = GaussianTeacher(process, mean=torch.zeros(2), std=0.01).trainable_copy()  # always near 0
    student.forward = lambda xt, t, cond=None, **_: type(teacher(xt, t))(
        x0_hat=torch.zeros_like(xt) + student.factor.sum()
    )
    with pytest.raises(ValueError, match="moves its input by"):
        setup(teacher, student).loss(PHASE, Batch(x0=torch.randn(4, 2)), Rng(0))


def test_the_boundary_check_leaves_no_trace_in_the_random_numbers():
    process = RectifiedFlow()
    student = Denoiser(Dropping(), process, Space((8,)), prediction="velocity").train()
    objective = setup(GaussianTeacher(process, mean=torch.zeros(8), std=1.0), student)
    batch, values = Batch(x0=torch.randn(16, 8)), []
    for _ in range(2):  # with the check and without
        torch.manual_seed(3)
        values.append(objective.loss(PHASE, batch, Rng(0)).value.item())
    assert values[0] == values[1]


def test_what_is_missing_is_said():
    teacher = gaussian(RectifiedFlow())
    with pytest.raises(ValueError, match="mode=distillation needs a teacher; give one, or use mode=training"):
        Consistency().setup(exact_student(teacher))
    with pytest.raises(ValueError, match="generator lives on EDM.*init: teacher"):
        setup(teacher, exact_student(gaussian(EDM())))
    with pytest.raises(ValueError, match=r"without x0 or \(xt, t\): use source data or trajectory"):
        setup(teacher).loss(PHASE, Batch(noise=torch.zeros(2, 1)), Rng(0))
    with pytest.raises(ValueError, match="in mode=training got a batch without x0"):
        setup(teacher, mode="training").loss(PHASE, Batch(xt=torch.zeros(2, 1), t=torch.ones(2)), Rng(0))
    assert Consistency().options.needs().teacher and not Consistency(mode="training").options.needs().teacher


# --- distances -------------------------------------------------------------------------------------------------------


def test_distances_are_means_over_the_event():
    a, b = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    assert l2(a, b).item() == 12.5
    # iCT: sqrt(||a - b||^2 + C^2) - C with C = c sqrt(d), divided by sqrt(d)
    c = 0.5
    assert pseudo_huber(a, b, c).item() == pytest.approx((math.sqrt(25 + c * c * 2) - c * math.sqrt(2)) / math.sqrt(2))
    each = [math.sqrt(x * x + c * c) - c for x in (3.0, 4.0)]
    assert pseudo_huber_elements(a, b, c).item() == pytest.approx(sum(each) / 2)
    assert distance("pseudo_huber", 0.5)(a, b) == pseudo_huber(a, b, 0.5) != distance("pseudo_huber")(a, b)
    with pytest.raises(ValueError, match="unknown distance 'l1'; allowed: l2, pseudo_huber, pseudo_huber_elements"):
        distance("l1")


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"times": {"nodes": 30}, "solver": "heun"},
        {"mode": "training", "times": {"schedule": "ratio", "ratio": {"stage_steps": 40}}, "weight": "inverse_step"},
    ],
    ids=["distillation", "training"],
)
def test_a_student_with_a_wrong_law_learns_the_teachers(options):
    process = EDM(sigma_max=20.0)
    teacher = gaussian(process, mean=0.7, std=0.6)
    student = gaussian(process, mean=0.0, std=1.2).trainable_copy(predicts="flow_map")
    objective = setup(teacher, student, metric={"distance": "l2"}, **options)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for step in range(400):
        objective.loss(PHASE, Batch(x0=teacher.sample(512, Rng(1, step))), Rng(0, step, PHASE)).backward()
        optimizer.step()
        schedule.step()
        objective.zero_grad()
    assert student.mean.item() == pytest.approx(0.7, abs=0.05)
    assert student.factor.abs().item() == pytest.approx(0.6, abs=0.05)
    sample = Multistep()(student, None, steps=1, rng=Rng(9), batch_size=10_000).value
    assert float(sample.mean()) == pytest.approx(0.7, abs=0.06)
