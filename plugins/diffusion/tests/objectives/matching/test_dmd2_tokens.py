"""DMD2 on tokens (Di[M]O): the field is the gradient of a divergence, and a toy reaches the teacher's distribution."""

import pytest
import torch
from torch import nn

from limbeck.interfaces import Batch, Phase, Prediction, Predictor, Space
from limbeck.plugins.registry import resolve
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import one_call, produce, token_start
from limbeck.testing import FixedDraws, MarkovChainTeacher
from limbeck_diffusion.formulas.fields import token_field
from limbeck_diffusion.objectives.matching.differences import TokenDifference
from limbeck_diffusion.objectives.matching.score_difference import ScoreDifference
from limbeck_diffusion.objectives.process_ops import CategoricalOps, Noised
from limbeck_diffusion.samplers.one_call import OneCall

GENERATOR, CRITIC = Phase("generator", ("generator",)), Phase("critic", ("critic",))
CHAIN = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6]], dtype=torch.float64)


class Table(Predictor):
    """Logits of every token as a function of the whole state, by look-up: exact for any distribution of two tokens."""

    def __init__(self, process, length=2, seed=0, std=0.0):
        super().__init__()
        self.process, self.space = process, Space((length,), domain="tokens")
        g = torch.Generator().manual_seed(seed)
        shape = (process.states**length, length, process.vocab)
        self.logits = nn.Parameter(std * torch.randn(shape, generator=g, dtype=torch.float64))

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        return Prediction(logits=self.logits[place_of(xt, self.process.states)])


def place_of(xt, states):
    return (xt * states ** torch.arange(xt.shape[1])).sum(1)


def masked(seed=0, std=1.0):
    process = MaskedProcess(3)
    return process, MarkovChainTeacher(process, CHAIN, length=2), Table(process, seed=seed, std=std)


def know(table, teacher):
    """Fill a table with the posterior, which for masks does not depend on t."""
    with torch.no_grad():
        for place in range(16):
            xt = torch.tensor([[place % 4, place // 4]])
            table.logits[place] = teacher(xt, torch.full((1,), 0.5, dtype=torch.float64)).logits[0].clamp_min(-60)


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl"])
def test_the_field_is_the_gradient_of_the_divergence_in_the_critics_logits(divergence):
    g = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(2))
    fake.requires_grad_()
    log_p, log_q = real.log_softmax(-1), fake.log_softmax(-1)
    forward = (log_p.exp() * (log_p - log_q)).sum()
    reverse = (log_q.exp() * (log_q - log_p)).sum()
    (expected,) = torch.autograd.grad(forward if divergence == "forward_kl" else reverse, fake)
    found = token_field(real, fake, divergence)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert expected.abs().min() > 1e-3
    assert token_field(real, real + 3.0, divergence).abs().max() < 1e-15  # q = p, whatever is added to the logits


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl"])
def test_with_the_student_as_its_own_critic_the_objective_descends_the_divergence(divergence):
    process, teacher, generator = masked(seed=1)
    objective = ScoreDifference(
        field={"divergence": divergence, "reduction": "sum"},
        critic={"init": "generator"},
        rollout={"random_tokens": 0.0},
        times={"range": (0.0, 1.0)},
    )
    objective.setup(generator, teacher)
    # the student's call and the noised sample are one and the same state: all masks
    draws = {
        "token": torch.tensor([[0.3, 0.8]], dtype=torch.float64),
        "t": torch.tensor([1.0]),
        "eps": torch.full((1, 2), 0.5, dtype=torch.float64),
    }
    start = process.prior_sample((1, 2), Rng(0))
    objective.loss(GENERATOR, Batch(noise=start), FixedDraws(draws)).backward()
    logits = generator.logits.detach()[place_of(start, 4)].requires_grad_()
    log_p = teacher(start, torch.ones(1).double()).logits.log_softmax(-1)
    log_q = logits.log_softmax(-1)
    forward = (log_p.exp() * (log_p - log_q)).sum()
    reverse = (log_q.exp() * (log_q - log_p)).sum()
    (expected,) = torch.autograd.grad(forward if divergence == "forward_kl" else reverse, logits)
    found = generator.logits.grad[place_of(start, 4)]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert expected.abs().max() > 1e-2


def test_a_student_that_agrees_with_its_teacher_is_left_alone():
    process, teacher, _ = masked()
    generator = Table(process)
    know(generator, teacher)
    objective = ScoreDifference(critic={"init": "generator"})
    objective.setup(generator, teacher)
    loss = objective.loss(GENERATOR, Batch(noise=process.prior_sample((64, 2), Rng(0))), Rng(0, 0, GENERATOR))
    assert loss.terms["field"].item() < 1e-7  # the logits of the teacher are in float32 at t in float32
    wrong = Table(process, seed=3, std=1.0)
    objective = ScoreDifference(critic={"init": "generator"})
    objective.setup(wrong, teacher)
    loss = objective.loss(GENERATOR, Batch(noise=process.prior_sample((64, 2), Rng(0))), Rng(0, 0, GENERATOR))
    assert loss.terms["field"].item() > 1e-2


def test_only_replaced_positions_are_moved_and_only_they_train_the_critic():
    process, _, table = masked()
    ops = CategoricalOps(process)
    difference = TokenDifference(ops)
    x0, u, t = torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0.1, 0.9], [0.2, 0.3]]), torch.tensor([0.5, 0.25])
    noised = Noised(process.add_noise(x0, u, t), t, u)
    assert noised.xt.tolist() == [[0, 3], [1, 1]]
    assert ops.replaced(noised).tolist() == [[False, True], [False, False]]
    prediction = table(noised.xt, t)
    error = difference.critic_error(prediction, x0, noised)
    expected = -prediction.logits.log_softmax(-1)[0, 1, 2]
    torch.testing.assert_close(error, torch.stack([expected, torch.zeros_like(expected)]))
    weighted = TokenDifference(ops, critic_weight="elbo").critic_error(prediction, x0, noised)
    torch.testing.assert_close(weighted[0], expected / 0.5 / 2)  # 1 / t over L = 2


def test_the_elbo_weighted_critic_is_unbiased_about_the_samples_it_sees():
    # at the optimum the critic is the posterior of the student's distribution: cross entropy's gradient vanishes there
    process, teacher, _ = masked()
    difference, critic = TokenDifference(CategoricalOps(process)), Table(process)
    know(critic, teacher)
    sequences = teacher.sequences()
    chance = teacher.log_density(sequences).exp()
    total = 0.0
    for pattern, t in (((0.0, 0.9), 0.5), ((0.9, 0.0), 0.5), ((0.9, 0.9), 0.7)):
        u = torch.tensor([pattern], dtype=torch.float64).expand(9, 2)
        time = torch.full((9,), t, dtype=torch.float64)
        noised = Noised(process.add_noise(sequences, u, time), time, u)
        error = difference.critic_error(critic(noised.xt, time), sequences, noised)
        total = total + (chance * error).sum()
    (gradient,) = torch.autograd.grad(total, critic.logits)
    assert gradient.abs().max() < 1e-12
    assert total.item() > 1.0


def test_a_start_has_its_share_of_random_tokens_and_the_rest_are_masks():
    process = MaskedProcess(5)
    start = token_start(process, (2000, 4), Rng(0), 0.4)
    assert (start != process.mask_id).double().mean().item() == pytest.approx(0.4, abs=0.02)
    counts = torch.bincount(start[start != process.mask_id], minlength=5).double()
    assert (counts / counts.sum() - 0.2).abs().max() < 0.03
    assert (token_start(process, (4, 4), Rng(0)) == process.mask_id).all()
    assert (token_start(UniformProcess(5), (4, 4), Rng(0)) < 5).all()


def test_the_sampler_draws_what_the_training_call_draws():
    process, _, table = masked()
    start = process.prior_sample((6, 2), Rng(4))
    trained = one_call(table, None, rng=Rng(4), batch_size=6, grad="none", start=start, random_tokens=0.4)
    assert trained.at.shape == (6, 2, 3) and trained.value.shape == (6, 2)
    sampled = OneCall(random_tokens=0.4)(table, None, steps=1, rng=Rng(4), noise=start)
    assert torch.equal(sampled.value, trained.value)
    with pytest.raises(ValueError, match="ancestral"):
        OneCall()(table, None, steps=2, rng=Rng(4), noise=start)


def test_produce_answers_tokens_and_the_logits_that_carry_the_gradient():
    process, _, table = masked()
    batch = Batch(noise=process.prior_sample((6, 2), Rng(0)))
    sample = produce(table, batch, plan=None, rng=Rng(0))
    assert sample.value.dtype == torch.int64 and sample.at.requires_grad and not sample.value.requires_grad
    assert not produce(table, batch, plan=None, rng=Rng(0), grad="none").at.requires_grad


def test_what_makes_no_sense_on_tokens_is_refused():
    process, teacher, table = masked()
    with pytest.raises(ValueError, match="steps is 1"):
        ScoreDifference(rollout={"steps": 2}, critic={"init": "generator"}).setup(table, teacher)
    objective = ScoreDifference(field={"subtract": "noise"}, rollout={"random_tokens": 0.0})
    objective.setup(table, teacher)
    with pytest.raises(TypeError, match="use a critic"):
        objective.loss(GENERATOR, Batch(noise=process.prior_sample((2, 2), Rng(0))), Rng(0, 0, GENERATOR))
    with pytest.raises(ValueError, match="same|teacher's process"):
        resolve("objective", "sds")().setup(Table(UniformProcess(3)), teacher)
    objective = ScoreDifference(critic={"init": "generator"})
    objective.setup(table, teacher)
    assert objective.sampling() == {"use": "one_call", "steps": 1, "random_tokens": 0.4}


TOYS = [
    pytest.param(MaskedProcess(3), 250, id="masked"),
    pytest.param(UniformProcess(3), 600, id="uniform", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("process", "steps"), TOYS)
def test_a_toy_student_reaches_the_law_of_a_two_token_chain(process, steps):
    # initial distribution far from stationary, so that the two marginals differ
    initial = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    teacher = MarkovChainTeacher(process, CHAIN, initial, length=2)
    generator = Table(process)
    objective = ScoreDifference(critic={"init": "generator", "updates": 1}, rollout={"random_tokens": 0.4})
    objective.setup(generator, teacher)
    optimizers = {
        name: torch.optim.Adam(role.parameters(), rate, betas=(0.0, 0.99))
        for (name, role), rate in zip(objective.roles().items(), (2e-2, 1e-1), strict=True)
    }
    for step in range(steps):
        optimizers["generator"].param_groups[0]["lr"] = 2e-2 * (1 - step / steps)
        for phase in objective.phases(step):
            rng = Rng(0, step, phase)
            objective.focus(phase)
            objective.loss(phase, Batch(noise=process.prior_sample((128, 2), rng)), rng).backward()
            optimizers[phase.name].step()
            objective.zero_grad()
    with torch.no_grad():
        start = process.prior_sample((20000, 2), Rng(9))
        tokens = one_call(generator, None, rng=Rng(9), batch_size=20000, start=start, random_tokens=0.4).value
    first, second = (torch.bincount(tokens[:, i], minlength=3) / 20000 for i in (0, 1))
    assert (first - 1 / 3).abs().max() > 0.15  # where it started
    # 20,000 draws have a standard error of 0.0035; the rest is what so short a training leaves
    assert (first - initial).abs().max() < 0.05, first
    assert (second - initial @ CHAIN).abs().max() < 0.05, second
