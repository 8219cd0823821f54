"""Regression on pairs: a one-step generator of a Gaussian can be exactly right, so its loss can be exactly zero."""

import pytest
import torch

from limbeck.interfaces import Batch, Phase
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianGenerator, GaussianTeacher
from limbeck_diffusion.objectives.regression.ode_pairs import ODEPairs
from limbeck_diffusion.samplers.gaussian import Heun
from limbeck_diffusion.sources.pairs import make_pairs
from limbeck_diffusion.sources.sources import PairsSource

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(0.5)]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
PHASE = Phase("generator", ("generator",))


def set_up(student, teacher=None, **options):
    objective = ODEPairs(**options)
    objective.setup(student, teacher)
    return objective


def exact_pairs(teacher, count=64):
    noise = teacher.process.prior_std * Rng(0).normal("z", (count, *teacher.space.event), torch.float64)
    t = torch.full((count,), teacher.process.t_max, dtype=torch.float64)
    return Batch(x0=teacher.consistency(noise, t), noise=noise)


@each_process
def test_the_exact_map_costs_nothing_and_a_shift_costs_its_square(process):
    teacher = GaussianTeacher(process, mean=torch.tensor([0.7, -0.2]), std=0.6)
    pairs = exact_pairs(teacher)
    student = teacher.trainable_copy(predicts="flow_map")
    # t_max itself is passed in float32: pi/2 and the like are off by 1e-8
    assert set_up(student, metric={"distance": "l2"}).loss(PHASE, pairs, FixedDraws({})).value.item() < 1e-12
    shifted = Batch(x0=pairs.x0 + 0.5, noise=pairs.noise)
    loss = set_up(student, metric={"distance": "l2"}).loss(PHASE, shifted, FixedDraws({}))
    assert loss.value.item() == pytest.approx(0.25, rel=1e-6)
    loss.backward()
    assert (student.means.grad < 0).all()  # the mean must rise to meet the shifted samples
    huber = set_up(student, metric={"distance": "pseudo_huber", "huber_c": 0.1}).loss(PHASE, shifted, FixedDraws({}))
    assert huber.value.item() == pytest.approx((0.25 + 0.01) ** 0.5 - 0.1, rel=1e-5)
    assert huber.terms["residual"].item() == pytest.approx(0.25, rel=1e-6)


@each_process
def test_made_pairs_are_the_solvers_and_close_in_on_the_flow_map(process):
    teacher = GaussianTeacher(process, mean=0.7, std=0.6)
    error = []
    for steps in (10, 40):
        pairs = make_pairs(teacher, Heun(), 30, steps=steps, chunk=16)
        t = torch.full((30,), process.t_max, dtype=torch.float64)
        error.append(float((pairs.x0.double() - teacher.consistency(pairs.noise.double(), t)).abs().max()))
    assert error[1] < 0.3 * error[0] and error[1] < 0.05
    assert pairs.cond is None and pairs.x0.shape == (30, 1)


def test_making_pairs_reports_progress():
    reported = []
    make_pairs(
        GaussianTeacher(VP(), mean=0.0, std=1.0),
        Heun(),
        20,
        steps=1,
        chunk=8,
        progress=lambda done, total: reported.append((done, total)),
    )
    assert reported == [(8, 20), (16, 20), (20, 20)]


def test_batch_weights_average():
    teacher = GaussianTeacher(EDM(), mean=0.7, std=0.6)
    pairs = exact_pairs(teacher, 2)
    off = Batch(x0=pairs.x0 + torch.tensor([[1.0], [2.0]]), noise=pairs.noise, weight=torch.tensor([0.75, 0.25]))
    loss = set_up(teacher.trainable_copy(predicts="flow_map"), metric={"distance": "l2"}).loss(
        PHASE, off, FixedDraws({})
    )
    assert loss.value.item() == pytest.approx(0.75 * 1 + 0.25 * 4, rel=1e-5)


def test_a_one_step_generator_learns_the_teachers_law_from_pairs():
    teacher = GaussianTeacher(RectifiedFlow(), mean=torch.tensor([0.7, -0.2]), std=torch.tensor([0.6, 0.3]))
    student = GaussianGenerator(RectifiedFlow(), mean=torch.zeros(2), factor=torch.ones(2))
    source = PairsSource(teacher=teacher, count=512, steps=20)
    objective = set_up(student, teacher)
    assert objective.default_source == "pairs"
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for step in range(200):
        phase = objective.phases(step)[0]
        rng = Rng(0, step, phase)
        objective.loss(phase, source.batch(128, rng), rng).backward()
        optimizer.step()
        schedule.step()
        objective.zero_grad()
    torch.testing.assert_close(student.mean, teacher.mean, rtol=0, atol=0.01)
    torch.testing.assert_close(student.factor.abs(), teacher.factor, rtol=0, atol=0.01)


def test_what_does_not_fit_is_said():
    teacher = GaussianTeacher(EDM(), mean=0.0, std=1.0)
    with pytest.raises(ValueError, match="standard deviation 80 and the generator's 1. Use the same process"):
        set_up(GaussianTeacher(RectifiedFlow(), mean=0.0, std=1.0).trainable_copy(), teacher)
    with pytest.raises(ValueError, match="the source yields none: use pairs"):
        set_up(teacher.trainable_copy()).loss(PHASE, Batch(x0=torch.zeros(2, 1)), Rng(0))
