"""Consistency on tokens: the same objective as on images, on chains that can be enumerated."""

import itertools
import math

import pytest
import token_models as models
import torch

import limbeck
from limbeck.interfaces import Batch, Phase
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing import FixedDraws, GaussianTeacher
from limbeck.testing.conformance import ObjectiveConformance
from limbeck_diffusion.formulas.consistency import token_distances
from limbeck_diffusion.formulas.divergences import forward_kl, reverse_kl
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.objectives.trajectory.neighbours import TokenNeighbours

PHASE = Phase("generator", ("generator",))
ENTROPY = -sum(p * math.log(p) for p in (0.5, 0.3, 0.2))
each_divergence = pytest.mark.parametrize("divergence", ["reverse_kl", "forward_kl"])


def setup(teacher, student=None, **options):
    objective = Consistency(**{"mode": "training", **options})
    objective.setup(student if student is not None else models.Table.of(teacher), teacher)
    return objective


def grid_of_u(points=4):
    """u on midpoints: exact for two tokens and alpha a multiple of 1 / points."""
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return torch.cartesian_prod(u, u)


# --- states ----------------------------------------------------------------------------------------------------------


def test_masks_are_nested_and_what_is_visible_is_true():
    teacher = models.independent([0.5, 0.3, 0.2], 8)
    x0 = teacher.sample(400, limbeck.rng(1))
    xt, t, xs, s = setup(teacher, times={"nodes": 5}).neighbours.states(Batch(x0=x0), limbeck.rng(2))
    assert bool((s < t).all()) and sorted(set((t * 5).round().long().tolist())) == [1, 2, 3, 4, 5]
    torch.testing.assert_close(t - s, torch.full_like(t, 0.2))
    at_t, at_s = xt == 3, xs == 3
    assert bool((at_s <= at_t).all()) and int(at_t.sum()) > int(at_s.sum()) > 0
    assert torch.equal(xt[~at_t], x0[~at_t]) and torch.equal(xs[~at_s], x0[~at_s])
    # survival at s is alpha_s = 1 - s
    assert float((~at_s).double().mean()) == pytest.approx(float((1 - s).mean()), abs=0.03)


def test_in_distillation_the_teacher_takes_the_step_to_s():
    teacher = models.independent([1e-9, 1 - 1e-9], 6)
    objective = setup(teacher, mode="distillation", times={"nodes": 2})
    x0 = torch.zeros(200, 6, dtype=torch.int64)  # not what the teacher would say
    xt, t, xs, s = objective.neighbours.states(Batch(x0=x0), limbeck.rng(2))
    revealed = (xt == 2) & (xs != 2)
    assert bool(revealed.any()) and bool((xs[revealed] == 1).all())
    assert bool((xs[xt != 2] == 0).all())
    # from t = 1 to 1/2 half of the masks are lifted, from 1/2 to 0 all
    for begin, share in ((1.0, 0.5), (0.5, 1.0)):
        rows = t == begin
        assert float(revealed[rows].sum() / (xt[rows] == 2).sum()) == pytest.approx(share, abs=0.06)


# --- the loss --------------------------------------------------------------------------------------------------------


@each_divergence
def test_an_exact_model_of_independent_tokens_has_no_residual_and_pays_the_entropy_of_what_is_revealed(divergence):
    teacher = models.independent([0.5, 0.3, 0.2], 2)
    x0 = teacher.sequences()
    weight = teacher.log_density(x0).exp()
    u, w = grid_of_u(), torch.full((16,), 1 / 16, dtype=torch.float64)
    rows = len(x0) * len(u)
    for node, (revealed, masked) in {0: (0.25, 1.0), 2: (0.25, 0.5), 3: (0.25, 0.25)}.items():
        objective = setup(teacher, times={"nodes": 4}, metric={"divergence": divergence})
        batch = Batch(x0=x0.repeat_interleave(16, 0), weight=(weight[:, None] * w).flatten())
        draws = FixedDraws({"t": torch.full((rows,), node), "eps": u.repeat(len(x0), 1)})
        loss = objective.loss(PHASE, batch, draws)
        assert abs(float(loss.terms["residual"])) < 1e-12
        assert float(loss.value.detach()) == pytest.approx(revealed / masked * ENTROPY, abs=1e-12)


@each_divergence
def test_the_loss_on_the_chain_of_two_tokens_is_what_brute_force_gives(divergence):
    # t = 3/4, s = 1/2: by hand over x0, and over each token being visible at t, revealed by s, or masked at s
    teacher, p = models.two_tokens(), models.JOINT
    guess = torch.tensor([[0.6, 0.4], [0.2, 0.8]], dtype=torch.float64)  # the student at two masks, both tokens
    student = models.Table.of(teacher)
    with torch.no_grad():
        student.logits[8] = guess.log()

    def model(axis, other):  # distribution of one token given the other (None: masked)
        if other is None:
            return guess[axis]
        row = p[:, other] if axis == 0 else p[other]
        return row / row.sum()

    total = masked = residual = 0.0
    for i, j in itertools.product(range(2), repeat=2):
        x = (i, j)
        for fate in itertools.product(["visible", "revealed", "masked"], repeat=2):
            chance = float(p[i, j]) * math.prod({"visible": 0.25, "revealed": 0.25, "masked": 0.5}[f] for f in fate)
            for axis in range(2):
                if fate[axis] == "visible":
                    continue
                masked += chance
                q = model(axis, x[1 - axis] if fate[1 - axis] == "visible" else None)
                if fate[axis] == "revealed":
                    total -= chance * float(q[x[axis]].log())
                else:
                    target = model(axis, None if fate[1 - axis] == "masked" else x[1 - axis])
                    a, b = (q, target) if divergence == "reverse_kl" else (target, q)
                    total += chance * float((a * (a / b).log()).sum())
                    residual += chance * float((a * (a / b).log()).sum())
    assert masked == pytest.approx(1.5) and residual > 0.01

    u, x0 = grid_of_u(), teacher.sequences()
    objective = setup(teacher, student, times={"nodes": 4}, metric={"divergence": divergence})
    batch = Batch(
        x0=x0.repeat_interleave(16, 0), weight=(teacher.log_density(x0).exp()[:, None] / 16).expand(-1, 16).flatten()
    )
    loss = objective.loss(PHASE, batch, FixedDraws({"t": torch.ones(64, dtype=torch.int64), "eps": u.repeat(4, 1)}))
    assert float(loss.value.detach()) == pytest.approx(total / masked, abs=1e-12)
    assert float(loss.terms["residual"]) == pytest.approx(residual / masked, abs=1e-12)


def test_distances_are_cross_entropy_where_the_token_is_known():
    q, p = (torch.tensor([x, x], dtype=torch.float64).log() for x in ([0.5, 0.5], [0.8, 0.2]))
    found, residual = token_distances(q, p, torch.tensor([1, 2]), torch.tensor([True, False]), forward_kl)
    expected = float(forward_kl(p[0], q[0]))
    torch.testing.assert_close(found, torch.tensor([math.log(2), expected], dtype=torch.float64))
    assert residual.tolist() == [0.0, pytest.approx(expected)]
    other, _ = token_distances(q, p, torch.tensor([1, 2]), torch.tensor([True, False]), reverse_kl)
    assert float(other[1]) != pytest.approx(expected)


def test_a_single_node_is_plain_denoising_from_pure_masks():
    teacher = models.two_tokens()
    x0 = teacher.sample(50, limbeck.rng(0))
    objective = setup(teacher, times={"nodes": 1})
    loss = objective.loss(PHASE, Batch(x0=x0), limbeck.rng(1))
    marginal = torch.stack([models.JOINT.sum(1), models.JOINT.sum(0)])  # (L, V)
    expected = -marginal.log()[torch.arange(2), x0].mean()
    assert float(loss.value.detach()) == pytest.approx(float(expected))
    assert loss.count == 100 and float(loss.terms["residual"]) == 0


@each_divergence
def test_uniform_corruption_compares_every_token_and_knows_it_at_zero_only(divergence):
    teacher = models.independent([0.5, 0.3, 0.2], 2, UniformProcess(3))
    x0 = teacher.sample(500, limbeck.rng(0))

    log_p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()  # the same at every position, whatever is seen
    student = models.Table(teacher.process, 2, log_p.expand(9, 2, 3).clone())
    objective = setup(teacher, student, times={"nodes": 2}, metric={"divergence": divergence})
    loss = objective.loss(PHASE, Batch(x0=x0), limbeck.rng(1))
    _, _, _, s = objective.neighbours.states(Batch(x0=x0), limbeck.rng(1))
    landed = s == 0
    assert loss.count == 1000 and float(loss.terms["residual"]) == pytest.approx(0, abs=1e-12)
    expected = -log_p[x0[landed]].sum() / 1000
    assert float(loss.value.detach()) == pytest.approx(float(expected)) and float(expected) > 0.3


def test_a_prompt_is_neither_corrupted_nor_compared():
    teacher = models.independent([0.5, 0.3, 0.2], 4)
    x0 = teacher.sample(64, limbeck.rng(0))
    learned = torch.tensor([[False, True, True, True]]).expand(64, -1)
    for mode in ("training", "distillation"):
        objective = setup(teacher, models.Table(teacher.process, 4), mode=mode, times={"nodes": 1})
        xt, _, xs, _ = objective.neighbours.states(Batch(x0=x0, loss_mask=learned), limbeck.rng(1))
        assert torch.equal(xt[:, 0], x0[:, 0]) and torch.equal(xs[:, 0], x0[:, 0]) and bool((xt[:, 1:] == 3).all())
        loss = objective.loss(PHASE, Batch(x0=x0, loss_mask=learned), limbeck.rng(1))
        assert loss.count == 192 and float(loss.value.detach()) == pytest.approx(math.log(3))


def test_gradients_reach_the_students_call_at_t_only_and_the_target_is_the_average():
    teacher = models.two_tokens()
    student = models.Table(teacher.process, 2)
    objective = setup(teacher, student, times={"nodes": 2}, target={"decay": 0.5})
    x0 = teacher.sample(32, limbeck.rng(0))
    draws = {"t": torch.zeros(32, dtype=torch.int64), "eps": torch.full((32, 2), 0.7, dtype=torch.float64)}
    loss = objective.loss(PHASE, Batch(x0=x0), FixedDraws(draws))  # t = 1, s = 1/2: two masks become two masks
    loss.backward()
    assert float(loss.value.detach()) == 0 and student.logits.grad[8].abs().sum() == 0
    with torch.no_grad():
        student.logits[8, 0, 0] += 1.0
    loss = objective.loss(PHASE, Batch(x0=x0), FixedDraws(draws))  # same step: the target stays where it was
    objective.zero_grad()
    loss.backward()
    touched = student.logits.grad.abs().sum((1, 2)).nonzero()[:, 0].tolist()
    assert touched == [8] and float(loss.value.detach()) > 0
    assert float(objective.target.logits[8, 0, 0]) == 0
    assert set(objective.state_dict()) == {"target.logits", "target_step"}


def test_training_on_tokens_finds_the_conditionals():
    teacher = models.two_tokens()
    student = models.Table(teacher.process, 2)
    objective = setup(teacher, student, times={"nodes": 4}, metric={"divergence": "forward_kl"})
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for step in range(200):
        rng = limbeck.rng(0, step)
        objective.loss(PHASE, Batch(x0=teacher.sample(512, rng)), rng).backward()
        optimizer.step()
        objective.zero_grad()
    q = student.logits.detach().softmax(-1)
    torch.testing.assert_close(q[8], torch.stack([models.JOINT.sum(1), models.JOINT.sum(0)]), atol=0.04, rtol=0)
    torch.testing.assert_close(q[2, 1], models.JOINT[0] / 0.7, atol=0.05, rtol=0)  # at (0, mask): x2 given x1 = 0


# --- the door --------------------------------------------------------------------------------------------------------


def test_options_of_continuous_noise_are_refused_on_tokens():
    teacher = models.two_tokens()
    for path, options in {
        "times.schedule=ratio": {"times": {"schedule": "ratio"}},
        "times.ratio.base=4.0": {"times": {"ratio": {"base": 4.0}}},
        "metric.huber_c=0.1": {"metric": {"huber_c": 0.1}},
        "solver=ddim": {"solver": "ddim"},
    }.items():
        with pytest.raises(ValueError, match=rf"consistency: {path} \(continuous noise\) has no meaning on Masked"):
            setup(teacher, **options)
    with pytest.raises(ValueError, match=r"distance=l2 .* metric.padding=counted .* have no meaning.*Leave them out"):
        setup(teacher, metric={"distance": "l2", "padding": "counted"})


def test_an_option_of_tokens_is_refused_on_continuous_noise():
    flow = GaussianTeacher(RectifiedFlow(), mean=0.0, std=1.0)
    with pytest.raises(ValueError, match=r"metric.divergence=forward_kl \(tokens\) has no meaning on .*continuous"):
        Consistency(metric={"divergence": "forward_kl"}).setup(flow.trainable_copy(predicts="flow_map"), flow)


def test_tokens_choose_their_sampler_and_need_data():
    objective = setup(models.two_tokens(), sampling_steps=8)
    assert isinstance(objective.neighbours, TokenNeighbours)
    assert objective.sampling() == {"use": "ancestral", "steps": 8}
    assert Consistency().sampling()["use"] == "multistep"
    with pytest.raises(ValueError, match="use source data"):
        objective.loss(PHASE, Batch(noise=torch.zeros(2, 2)), limbeck.rng(0))
    with pytest.raises(ValueError, match="Give the generator the teacher's process"):
        Consistency().setup(models.Table(MaskedProcess(2, "cosine"), 2), models.two_tokens())


class TestConsistencyOnTokens(ObjectiveConformance):
    def make(self):
        return Consistency(times={"nodes": 3}, target={"decay": 0.5})

    def partners(self):
        teacher = models.two_tokens()
        return {"generator": models.Table(teacher.process, 2), "teacher": teacher, "data": None}

    def batch(self, size, rng):
        return Batch(x0=models.two_tokens().sample(size, rng))
