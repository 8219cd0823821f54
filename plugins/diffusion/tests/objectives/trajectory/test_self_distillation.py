"""Self-distillation through time on chains of two tokens, where its optimum is known on paper."""

import copy
import itertools
import math

import pytest
import token_models as models
import torch

import limbeck
from limbeck.errors import OptionError
from limbeck.interfaces import Batch, Phase
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.testing import FixedDraws
from limbeck.testing.conformance import ObjectiveConformance
from limbeck_diffusion.formulas.divergences import DIVERGENCES, forward_kl, mse, reverse_kl, tvd
from limbeck_diffusion.formulas.masked import sub_times, targets
from limbeck_diffusion.objectives.trajectory.sdtt import SDTT
from limbeck_diffusion.options.trajectory import SDTTOptions

PHASE = Phase("generator", ("generator",))
ARITHMETIC = torch.tensor([0.7, 0.3], dtype=torch.float64)
GEOMETRIC = torch.tensor([0.717308, 0.282692], dtype=torch.float64)
every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES)


def one_step_draws(teacher, chance):
    """Every outcome of one sub-step from two masks, as draws and their probabilities: u (9, 2), weight (9,)."""
    p = models.JOINT.sum(1), models.JOINT.sum(0)
    outcomes = []
    for axis in range(2):
        first = float(p[axis][0])
        stays = (1 - chance, (1 + chance) / 2)
        outcomes.append([(chance * first, chance * first / 2), (chance * (1 - first), chance * (1 + first) / 2), stays])
    rows = [(a[0] * b[0], (a[1], b[1])) for a, b in itertools.product(*outcomes)]
    weight, u = zip(*rows, strict=True)
    return torch.tensor(u, dtype=torch.float64), torch.tensor(weight, dtype=torch.float64)


# --- targets ---------------------------------------------------------------------------------------------------------


def test_the_targets_of_two_masked_tokens_have_the_means_of_the_method_sheet():
    # r1 = 0.25: token 1 is still masked and token 2 revealed with chance (1 - r1) r1; arithmetic mean = the marginal
    teacher = models.two_tokens()
    u, weight = one_step_draws(teacher, 0.25)
    assert float(weight.sum()) == pytest.approx(1)
    xt = torch.full((9, 2), 2)
    times = sub_times(torch.ones(9, dtype=torch.float64), 0.25, 2)
    found = targets(lambda x, t: teacher(x, t).logits, teacher.process, xt, times, lambda k: u).reshape(9, 2, 2)
    first = found[:, 0]
    torch.testing.assert_close((weight[:, None] * first.exp()).sum(0), ARITHMETIC, atol=1e-12, rtol=0)
    geometric = (weight[:, None] * first).sum(0).exp()
    torch.testing.assert_close(geometric / geometric.sum(), GEOMETRIC, atol=1e-6, rtol=0)
    # the trajectory in which token 2 came out as 1 first: p(x1 | x2 = 1) = (.1, .25) / .35
    seen = [k for k in range(9) if u[k, 0] > 0.25 and 0.25 * 0.65 < u[k, 1] < 0.25]
    torch.testing.assert_close(first[seen[0]].exp(), torch.tensor([2 / 7, 5 / 7], dtype=torch.float64))


def test_a_revealed_token_keeps_the_prediction_from_before_it_was_revealed():
    process = MaskedProcess(2)
    asked = []

    def predict(x, t):
        asked.append((x.clone(), t.clone()))
        return torch.full((1, 3, 2), 0.0, dtype=torch.float64) + torch.tensor([float(len(asked)), 0.0])

    xt = torch.tensor([[2, 1, 2]])
    draws = torch.tensor([[0.01, 0.5, 0.99]], dtype=torch.float64)  # the first is revealed, the last is not
    found = targets(predict, process, xt, sub_times(torch.tensor([0.5], dtype=torch.float64), 0.1, 2), lambda k: draws)
    expected = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64).log_softmax(-1)
    torch.testing.assert_close(found, expected)
    assert asked[1][0].tolist() == [[0, 1, 2]]
    assert [round(float(t), 10) for _, t in asked] == [0.5, 0.4]


def test_sub_steps_lie_on_the_grid_of_the_teacher_and_end_at_zero():
    times = sub_times(torch.tensor([0.5, 0.1, 1.0], dtype=torch.float64), 0.1, 2)
    expected = torch.tensor([[0.5, 0.1, 1.0], [0.4, 0.05, 0.9], [0.3, 0.0, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(times, expected)
    # so that the chance of being revealed is dt / t, not what a grid from 1 - t would give
    process = MaskedProcess(2)
    xt = torch.full((1, 40_000), 2)
    u = process.noise((1, 40_000), limbeck.rng(0))
    assert float(process.lifts(xt, times[0, :1], times[1, :1], u)[0].double().mean()) == pytest.approx(0.2, abs=0.01)


# --- divergences -----------------------------------------------------------------------------------------------------


def test_divergences_have_their_values_on_paper():
    q, p = (torch.tensor(x, dtype=torch.float64).log() for x in ([0.5, 0.5], [0.8, 0.2]))
    assert float(reverse_kl(p, q)) == pytest.approx(0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2))
    assert float(forward_kl(p, q)) == pytest.approx(0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5))
    assert float(tvd(p, q)) == pytest.approx(0.3)
    assert float(mse(p, q)) == pytest.approx((math.log(1.6) ** 2 + math.log(0.4) ** 2) / 2)


# --- the objective ---------------------------------------------------------------------------------------------------


def at_one(objective, student, u, weight):
    """Loss with both tokens masked (t = 1), every outcome of the teacher's sub-step weighted: dt = 1/4, m = 2."""
    rows = len(weight)
    t = 0.9 * rows - torch.arange(rows, dtype=torch.float64)  # what stratification makes 0.9: the node above is 1
    draws = {"t": t, "eps": torch.full((rows, 2), 0.999, dtype=torch.float64), "sub_step/0": u}
    return objective.loss(PHASE, Batch(x0=torch.zeros(rows, 2, dtype=torch.int64), weight=weight), FixedDraws(draws))


def gradient_at(distribution, divergence):
    """The gradient for the logits of token 1 at two masks when the student predicts `distribution` there."""
    teacher = models.two_tokens()
    student = models.Table.of(teacher)
    with torch.no_grad():
        student.logits[8, 0] = distribution.log()
    objective = SDTT(rounds={"teacher_steps": 4, "student_steps": 2}, metric={"divergence": divergence})
    objective.setup(student, teacher)
    loss = at_one(objective, student, *one_step_draws(teacher, 0.25))
    loss.backward()
    return student.logits.grad[8, 0]


@pytest.mark.parametrize(
    "divergence, optimum, other", [("forward_kl", ARITHMETIC, GEOMETRIC), ("reverse_kl", GEOMETRIC, ARITHMETIC)]
)
def test_the_optimum_is_the_arithmetic_or_the_geometric_mean(divergence, optimum, other):
    assert float(gradient_at(optimum, divergence).abs().max()) < 1e-6
    assert float(gradient_at(other, divergence).abs().max()) > 5e-3


@every_divergence
def test_independent_tokens_leave_nothing_to_learn_and_another_distribution_does(divergence):
    teacher = models.independent([0.5, 0.3, 0.2], 4)
    x0 = teacher.sample(64, limbeck.rng(1))
    objective = SDTT(rounds={"teacher_steps": 4, "student_steps": 2}, metric={"divergence": divergence})
    objective.setup(models.Table.of(teacher), teacher)
    assert abs(float(objective.loss(PHASE, Batch(x0=x0), limbeck.rng(2)).value.detach())) < 1e-12
    student = models.Table(teacher.process, 4)  # uniform
    objective = SDTT(rounds={"teacher_steps": 4, "student_steps": 2}, metric={"divergence": divergence})
    objective.setup(student, teacher)
    p, q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log(), torch.full((3,), -math.log(3), dtype=torch.float64)
    loss = objective.loss(PHASE, Batch(x0=x0), limbeck.rng(2))
    assert float(loss.value.detach()) == pytest.approx(float(DIVERGENCES[divergence](p, q)))
    loss.backward()
    assert float(student.logits.grad.abs().sum()) > 0


@every_divergence
def test_a_colder_teacher_is_what_the_student_learns_in_the_first_round_only(divergence):
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    teacher, colder = (models.independent(q.tolist(), 3) for q in (p, p.square() / p.square().sum()))
    rounds = {"teacher_steps": 8, "student_steps": 2, "steps": 1}
    options = {"rounds": rounds, "metric": {"divergence": divergence}, "target": {"temperature": 0.5}}
    objective = SDTT(**options)
    objective.setup(models.Table.of(colder), teacher)
    x0 = teacher.sample(64, limbeck.rng(1))
    assert abs(float(objective.loss(PHASE, Batch(x0=x0), limbeck.rng(2, 0)).value.detach())) < 1e-12
    assert abs(float(objective.loss(PHASE, Batch(x0=x0), limbeck.rng(2, 1)).value.detach())) < 1e-12  # its own copy
    objective = SDTT(**options)
    objective.setup(models.Table.of(teacher), teacher)
    expected = DIVERGENCES[divergence](2 * p.log() - p.square().sum().log(), p.log())
    loss = objective.loss(PHASE, Batch(x0=x0), limbeck.rng(2, 0)).value.detach()
    assert float(loss) == pytest.approx(float(expected)) and float(loss) > 0.01


def test_times_are_the_nodes_at_which_the_student_is_sampled():
    objective = SDTT(rounds={"teacher_steps": 32, "student_steps": 4, "steps": 5})
    objective.setup(models.Table(MaskedProcess(2), 2), models.two_tokens())
    assert [objective.dt(step) for step in (0, 4, 5, 10, 100)] == [1 / 32, 1 / 32, 1 / 16, 1 / 8, 1 / 8]
    nodes = objective.times(limbeck.rng(0), 400, 1 / 8) * 4
    assert sorted(set(nodes.tolist())) == [1, 2, 3, 4]
    uniform = SDTT(rounds={"teacher_steps": 32, "student_steps": 4}, times={"kind": "uniform"})
    uniform.setup(models.Table(MaskedProcess(2), 2), models.two_tokens())
    assert len(set(uniform.times(limbeck.rng(0), 400, 1 / 8).tolist())) == 400
    assert objective.sampling() == {"use": "ancestral", "steps": 4}


def play(objective, teacher, steps, optimizer):
    for step in steps:
        rng = limbeck.rng(0, step, PHASE)
        loss = objective.loss(PHASE, Batch(x0=teacher.sample(32, rng)), rng)
        loss.backward()
        optimizer.step()
        objective.zero_grad()
    return loss.value.detach()


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_the_student_becomes_the_teacher_of_the_next_round_and_a_resumed_run_has_the_same_one(decay):
    options = {"rounds": {"teacher_steps": 16, "student_steps": 2, "steps": 3, "decay": decay}}
    teacher = models.two_tokens()

    def fresh():
        objective = SDTT(**options)
        student = models.Table.of(teacher)
        objective.setup(student, teacher)
        return objective, student, torch.optim.SGD(student.parameters(), lr=0.5)

    objective, student, optimizer = fresh()
    play(objective, teacher, range(3), optimizer)
    assert objective.teacher is teacher and "teacher.logits" not in objective.state_dict()
    after_round = student.logits.detach().clone()
    play(objective, teacher, range(3, 5), optimizer)
    promoted = objective.teacher.logits
    assert objective.round == 1 and not promoted.requires_grad
    if decay:
        assert not torch.equal(promoted, after_round)
        assert not torch.equal(promoted, models.Table.of(teacher).logits)
    else:
        assert torch.equal(promoted, after_round)
    assert not torch.equal(student.logits, promoted)

    own, weights = copy.deepcopy(objective.state_dict()), copy.deepcopy(student.state_dict())
    expected = play(objective, teacher, range(5, 9), optimizer)
    objective, student, optimizer = fresh()
    student.load_state_dict(weights)
    objective.load_state_dict(own)
    assert torch.equal(play(objective, teacher, range(5, 9), optimizer), expected)


def test_training_by_reverse_kl_arrives_at_the_geometric_mean():
    teacher = models.two_tokens()
    objective = SDTT(rounds={"teacher_steps": 4, "student_steps": 2})
    student = models.Table.of(teacher)
    objective.setup(student, teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=2.0)
    for _ in range(300):
        at_one(objective, student, *one_step_draws(teacher, 0.25)).backward()
        optimizer.step()
        objective.zero_grad()
    torch.testing.assert_close(student.logits[8, 0].softmax(-1).detach(), GEOMETRIC, atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [(20, 2, 8), (8, 2, 8), (1024, 3, 8)])
def test_steps_that_no_doubling_reaches_are_refused_with_a_proposal(steps):
    teacher_steps, sub_steps, student_steps = steps
    with pytest.raises(ValueError, match="Try teacher_steps"):
        SDTTOptions(rounds=dict(teacher_steps=teacher_steps, sub_steps=sub_steps, student_steps=student_steps))
    assert SDTTOptions().rounds.count == 7


def test_what_it_cannot_work_with_is_refused():
    teacher = models.two_tokens()
    with pytest.raises(ValueError, match="sdtt needs a teacher"):
        SDTT().setup(models.Table(MaskedProcess(2), 2))
    with pytest.raises(ValueError, match="lives on UniformProcess"):
        SDTT().setup(models.Table(UniformProcess(2), 2), teacher)
    with pytest.raises(ValueError, match="Give the generator the teacher's process"):
        SDTT().setup(models.Table(MaskedProcess(2, "cosine"), 2), teacher)
    with pytest.raises(OptionError, match="reverse_kl"):
        limbeck.create("objective", "sdtt", metric={"divergence": "kl"})


class TestSDTT(ObjectiveConformance):
    def make(self):
        return SDTT(rounds={"teacher_steps": 8, "student_steps": 2, "steps": 2})

    def partners(self):
        teacher = models.two_tokens()
        return {"generator": models.Table(teacher.process, 2), "teacher": teacher, "data": None}

    def batch(self, size, rng):
        return Batch(x0=models.two_tokens().sample(size, rng))
