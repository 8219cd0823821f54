"""Categorical processes and the exact Markov chain, by brute force on vocabularies small enough to enumerate."""

import math

import pytest
import torch

import limbeck
from limbeck.process.categorical import MaskedProcess, UniformProcess, draw, nucleus, probabilities
from limbeck.testing import FixedDraws, MarkovChainTeacher

PROCESSES = [
    MaskedProcess(3), MaskedProcess(3, "cosine"), MaskedProcess(4, mask_id=3), UniformProcess(3), UniformProcess(3,
    "cosine"),
]  # fmt: skip
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)

TRANSITION = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]], dtype=torch.float64)
INITIAL = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def chain(process, length=3):
    transition, initial = TRANSITION, INITIAL
    if process.vocab == 4:  # the mask is a token of the vocabulary that data never takes
        transition = torch.nn.functional.pad(TRANSITION, (0, 1, 0, 1))
        transition[3, 0] = 1.0
        initial = torch.nn.functional.pad(INITIAL, (0, 1))
    return MarkovChainTeacher(process, transition, initial, length=length)


def all_states(process, length):
    return torch.cartesian_prod(*[torch.arange(process.states)] * length).reshape(-1, length)


def at(value, count):
    return torch.full((count,), value, dtype=torch.float64)


def joint(teacher, xt, t):
    """p(x0) q(x_t | x0) by enumeration: sequences (N, L) and table (B, N)."""
    x0 = teacher.sequences()
    distribution = teacher.log_density(x0).exp()
    rows = []
    for b in range(len(xt)):
        like = teacher.process.likelihood(xt[b : b + 1].expand(len(x0), -1), t[b].expand(len(x0)))
        rows.append(distribution * like.gather(-1, x0[..., None])[..., 0].prod(1))
    return x0, torch.stack(rows)


# --- schedules and corruption ----------------------------------------------------------------------------------------


@every_process
def test_alpha_runs_from_one_to_exactly_zero_and_has_its_derivative(process):
    t = torch.linspace(0.01, 0.99, 21, dtype=torch.float64).requires_grad_(True)
    alpha = process.alpha(t)
    torch.testing.assert_close(torch.autograd.grad(alpha.sum(), t)[0], process.d_alpha(t))
    torch.testing.assert_close(process.time(alpha), t)
    assert process.alpha(torch.tensor([0.0, 1.0])).tolist() == [1.0, 0.0]
    assert float(process.alpha(torch.tensor(0.5))) == pytest.approx(
        0.5 if process.schedule == "linear" else math.sqrt(0.5)
    )


@every_process
def test_marginal_and_likelihood_are_the_two_readings_of_one_table(process):
    tokens = torch.arange(process.vocab)[None]
    t = torch.tensor([0.3], dtype=torch.float64)
    table = process.marginal(tokens, t)[0]  # (v, state)
    torch.testing.assert_close(table.sum(-1), torch.ones(process.vocab).double())
    states = torch.arange(process.states)[None]
    torch.testing.assert_close(process.likelihood(states, t)[0], table.T)
    alpha = float(process.alpha(t))
    assert float(table[0, 0]) == pytest.approx(alpha if isinstance(process, MaskedProcess) else alpha + (1 - alpha) / 3)


@every_process
def test_corruption_has_the_distribution_of_the_marginal(process):
    n, t = 200_000, 0.35
    x0 = torch.ones(n, 1, dtype=torch.int64)
    u = process.noise((n, 1), limbeck.rng(0))
    assert u.dtype == torch.float64
    xt = process.add_noise(x0, u, at(t, n))
    got = torch.bincount(xt[:, 0], minlength=process.states) / n
    torch.testing.assert_close(got.double(), process.marginal(x0[:1], at(t, 1))[0, 0], atol=4e-3, rtol=0)
    assert torch.equal(process.add_noise(x0, u, at(0.0, n)), x0)


@every_process
def test_corruption_with_one_draw_is_nested_in_time(process):
    # what is replaced at an early time stays replaced later, and visible tokens are a falling set
    x0 = chain(process, 8).sample(500, limbeck.rng(1))
    u = process.noise(tuple(x0.shape), limbeck.rng(2))
    kept = [u < process.alpha(at(t, 500))[:, None] for t in (0.2, 0.5, 0.9)]
    assert bool((kept[1] <= kept[0]).all()) and bool((kept[2] <= kept[1]).all())
    for t, keep in zip((0.2, 0.5, 0.9), kept, strict=True):
        xt = process.add_noise(x0, u, at(t, 500))
        assert bool((xt[keep] == x0[keep]).all())
        if isinstance(process, MaskedProcess):
            assert torch.equal(xt == process.mask_id, ~keep)


@every_process
def test_prior_samples_are_pure_noise(process):
    x = process.prior_sample((50_000, 2), limbeck.rng(0))
    got = torch.bincount(x.flatten(), minlength=process.states) / x.numel()
    torch.testing.assert_close(got.double(), process.prior(), atol=0.01, rtol=0)
    u = torch.linspace(0, 0.999, 5, dtype=torch.float64)[:, None]
    replaced = process.add_noise(torch.zeros(5, 1, dtype=torch.int64), u, at(1.0, 5))
    assert torch.equal(replaced, process.prior_sample((5, 1), FixedDraws({"noise": u})))


@every_process
def test_a_time_per_position_equals_one_per_sequence_when_equal(process):
    x0 = chain(process, 4).sample(50, limbeck.rng(1))
    u = process.noise((50, 4), limbeck.rng(2))
    t = torch.linspace(0.1, 0.9, 50, dtype=torch.float64)
    per = t[:, None].expand(-1, 4)
    xt = process.add_noise(x0, u, t)
    assert torch.equal(process.add_noise(x0, u, per), xt)
    p = chain(process, 4).posterior(xt, t)
    torch.testing.assert_close(chain(process, 4).posterior(xt, per), p)
    torch.testing.assert_close(process.posterior(xt, per, per / 2, p), process.posterior(xt, t, t / 2, p))
    mixed = torch.stack([t, t.flip(0), t, t.flip(0)], 1)
    got = process.add_noise(x0, u, mixed)
    assert torch.equal(got[:, 1], process.add_noise(x0[:, 1:2], u[:, 1:2], t.flip(0))[:, 0])


# --- one step back ---------------------------------------------------------------------------------------------------


@every_process
@pytest.mark.parametrize(("t", "s"), [(0.7, 0.3), (1.0, 0.4), (0.5, 0.0), (1.0, 0.0)])
def test_the_posterior_is_bayes_rule_for_every_x0_and_state(process, t, s):
    # q(x_s | x_t, x0) = q(x_t | x_s) q(x_s | x0) / q(x_t | x0), with q(x_t | x_s) from one more corruption of x_s
    alpha_t, alpha_s = (float(process.alpha(torch.tensor(v, dtype=torch.float64))) for v in (t, s))
    ratio = alpha_t / alpha_s
    step = ratio * torch.eye(process.states).double() + (1 - ratio) * process.prior()  # (x_s, x_t)
    if isinstance(process, MaskedProcess):
        step[process.mask_id] = torch.nn.functional.one_hot(torch.tensor(process.mask_id), process.states)  # masks stay
    for v in range(process.vocab):
        if isinstance(process, MaskedProcess) and v == process.mask_id:
            continue
        first = process.marginal(torch.tensor([[v]]), at(s, 1))[0, 0]  # (x_s)
        for xt in range(process.states):
            both = first * step[:, xt]
            if float(both.sum()) == 0:
                continue
            certain = torch.nn.functional.one_hot(torch.tensor([[v]]), process.vocab).double()
            got = process.posterior(torch.tensor([[xt]]), at(t, 1), at(s, 1), certain)[0, 0]
            torch.testing.assert_close(got, both / both.sum(), atol=1e-12, rtol=1e-10)


@every_process
def test_stepping_back_with_exact_predictions_keeps_the_marginals(process):
    # sum over x_t of p(x_t) p(x_s,i | x_t) must be the marginal of position i at s
    teacher, t, s = chain(process), 0.8, 0.35
    xt = all_states(process, 3)
    distribution = teacher.log_density(xt, at(t, len(xt))).exp()
    assert float(distribution.sum()) == pytest.approx(1, abs=1e-12)
    possible = distribution > 0
    xt, distribution = xt[possible], distribution[possible]
    p = teacher.posterior(xt, at(t, len(xt)))
    got = (distribution[:, None, None] * process.posterior(xt, at(t, len(xt)), at(s, len(xt)), p)).sum(0)
    xs = all_states(process, 3)
    distribution_s = teacher.log_density(xs, at(s, len(xs))).exp()
    expected = torch.stack(
        [torch.zeros(process.states).double().index_add(0, xs[:, i], distribution_s) for i in range(3)]
    )
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@every_process
def test_small_steps_back_turn_noise_into_data(process):
    teacher = chain(process)
    n, steps = 20_000, 40
    x = process.prior_sample((n, 3), limbeck.rng(0))
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    for k in range(steps):
        t = times[k].expand(n)
        u = limbeck.rng(0, k).uniform("u", (n, 3), torch.float64)
        x = process.step(x, t, times[k + 1].expand(n), teacher.posterior(x, t), u)
    x0 = teacher.sequences()
    code = (x0 * process.vocab ** torch.arange(3)).sum(1)
    got = torch.bincount((x * process.vocab ** torch.arange(3)).sum(1), minlength=process.vocab**3)[code] / n
    # positions that move within one step do so independently: an error of order 1 / steps, plus sampling noise
    torch.testing.assert_close(got.double(), teacher.log_density(x0).exp(), atol=0.02, rtol=0)


def test_a_masked_step_never_touches_visible_tokens_and_ends_without_masks():
    process = MaskedProcess(5)
    xt = torch.tensor([[5, 2, 5, 0]])
    p = torch.full((1, 4, 5), 0.2, dtype=torch.float64)
    distribution = process.posterior(xt, at(0.8, 1), at(0.2, 1), p)
    assert distribution[0, 1].tolist() == [0, 0, 1, 0, 0, 0]
    # lifted with probability (0.8 - 0.2) / 0.8
    torch.testing.assert_close(distribution[0, 0], torch.tensor([0.15] * 5 + [0.25]).double())
    assert float(process.posterior(xt, at(0.8, 1), at(0.0, 1), p)[..., 5].sum()) == 0


def test_draws_follow_their_probabilities_and_never_choose_the_impossible():
    p = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0])
    u = torch.tensor([0.0, 0.2499, 0.25, 0.9999999999])
    assert draw(p.expand(4, 5), u.double()).tolist() == [1, 1, 3, 3]
    many = draw(torch.full((1000, 50_000), 1 / 50_000, dtype=torch.float64), torch.arange(1000).double() / 1000)
    assert (
        many[1:].tolist() == [50 * k for k in range(1, 1000)] or int((many - 50 * torch.arange(1000)).abs().max()) <= 1
    )


# --- the chain -------------------------------------------------------------------------------------------------------


@every_process
@pytest.mark.parametrize("t", [0.2, 0.6, 1.0])
def test_forward_backward_is_enumeration(process, t):
    teacher = chain(process)
    xt = all_states(process, 3)
    time = at(t, len(xt))
    possible = teacher.log_density(xt, time).isfinite()
    assert int(possible.sum()) > 0
    xt, time = xt[possible], time[possible]
    x0, table = joint(teacher, xt, time)
    torch.testing.assert_close(teacher.log_density(xt, time), table.sum(1).log(), rtol=1e-10, atol=1e-12)
    posterior = torch.stack(
        [torch.zeros(len(xt), process.vocab).double().index_add(1, x0[:, i], table) for i in range(3)], 1
    ) / table.sum(1)[:, None, None]  # fmt: skip
    torch.testing.assert_close(teacher.posterior(xt, time), posterior, rtol=1e-9, atol=1e-12)
    logits = teacher(xt, time).logits
    assert logits.dtype == torch.float64 and bool(logits.isfinite().all())
    torch.testing.assert_close(logits.softmax(-1), posterior, rtol=1e-9, atol=1e-12)


@every_process
def test_likelihood_and_entropy_of_the_chain(process):
    teacher = chain(process)
    x0 = teacher.sequences()
    distribution = teacher.log_density(x0).exp()
    assert float(distribution.sum()) == pytest.approx(1)
    k = [2, 1, 1]
    expected = 0.3 * 0.9 * 0.3
    assert float(teacher.log_density(torch.tensor([k])).exp()) == pytest.approx(expected)
    assert teacher.entropy() == pytest.approx(float(-torch.special.xlogy(distribution, distribution).sum()))
    assert teacher.entropy() > 2


def test_the_masked_bound_is_tight_with_exact_predictions():
    # E_t E_q weight(t) * sum of -log p(x0_i | x_t) over masked positions = entropy of the data (both schedules)
    for process in (MaskedProcess(3), MaskedProcess(3, "cosine")):
        teacher = chain(process)
        x0 = teacher.sequences()
        distribution = teacher.log_density(x0).exp()
        nodes, weights = legendre(24)
        total = 0.0
        for t, w in zip(nodes, weights, strict=True):
            alpha = process.alpha(t)
            for pattern in all_states(MaskedProcess(2), 3)[:, :3].unique(dim=0):  # which positions are masked
                if bool((pattern > 1).any()) or not bool(pattern.any()):
                    continue
                mask = pattern.bool()
                chance = torch.where(mask, 1 - alpha, alpha).prod()
                xt = torch.where(mask, process.mask_id, x0)
                log_p = teacher.posterior(xt, t.expand(len(x0))).log().gather(-1, x0[..., None])[..., 0]
                inner = -(distribution * (log_p * mask).sum(1)).sum()
                total = total + w * chance * process.nelbo_weight(t) * inner
        assert float(total) == pytest.approx(teacher.entropy(), rel=1e-9)


def legendre(count):
    """Gauss-Legendre nodes and weights on (0, 1)."""
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return (values + 1) / 2, vectors[0] ** 2


def test_samples_of_the_chain_have_its_distribution():
    teacher = chain(UniformProcess(3))
    x = teacher.sample(60_000, limbeck.rng(0))
    code = (x * 3 ** torch.arange(3)).sum(1)
    sequences = teacher.sequences()
    got = torch.bincount(code, minlength=27)[(sequences * 3 ** torch.arange(3)).sum(1)] / 60_000
    torch.testing.assert_close(got.double(), teacher.log_density(sequences).exp(), atol=6e-3, rtol=0)
    noisy = teacher.sample(60_000, limbeck.rng(0), t=0.5)
    share = torch.bincount((noisy * 3 ** torch.arange(3)).sum(1), minlength=27)[
        (sequences * 3 ** torch.arange(3)).sum(1)
    ]
    torch.testing.assert_close(
        (share / 60_000).double(), teacher.log_density(sequences, at(0.5, 27)).exp(), atol=6e-3, rtol=0
    )


def test_the_initial_distribution_defaults_to_the_stationary_one():
    teacher = MarkovChainTeacher(MaskedProcess(3), TRANSITION, length=5)
    torch.testing.assert_close(teacher.initial @ TRANSITION, teacher.initial)
    assert float(teacher.initial.min()) > 0.1


def test_long_sequences_do_not_underflow():
    process = UniformProcess(3)
    teacher = chain(process, 400)
    xt = teacher.sample(2, limbeck.rng(0), t=0.4)
    p = teacher.posterior(xt, at(0.4, 2))
    assert bool(p.isfinite().all()) and float(teacher.log_density(xt, at(0.4, 2)).max()) < -100
    torch.testing.assert_close(p.sum(-1), torch.ones(2, 400).double())


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="unknown schedule 'quadratic'; allowed: linear, cosine"):
        MaskedProcess(3, "quadratic")
    with pytest.raises(ValueError, match=r"mask_id is a token id in \[0, 3\]"):
        MaskedProcess(3, mask_id=7)
    with pytest.raises(ValueError, match="at least two tokens"):
        UniformProcess(1)
    with pytest.raises(ValueError, match=r"\(3, 3\) with rows that sum to one"):
        MarkovChainTeacher(MaskedProcess(3), torch.ones(3, 3), length=2)


# --- temperature and nucleus -----------------------------------------------------------------------------------------


def test_temperature_and_nucleus_have_their_values_on_paper():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    squared = torch.tensor([0.25, 0.09, 0.0225, 0.0025], dtype=torch.float64)
    torch.testing.assert_close(probabilities(logits, temperature=0.5), squared / squared.sum())
    assert probabilities(logits, temperature=0).tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(nucleus(logits.exp(), 0.7), torch.tensor([0.625, 0.375, 0, 0], dtype=torch.float64))
    assert nucleus(logits.exp(), 0.4).tolist() == [1, 0, 0, 0]  # the first token always stays
    assert torch.equal(nucleus(logits.exp(), 1.0), logits.exp())


def test_the_nucleus_keeps_every_token_in_its_place():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(nucleus(p, 0.7), torch.tensor([[0, 0.5, 0, 0.25]], dtype=torch.float64) / 0.75)
    assert nucleus(p, 1e-6).tolist() == [[0, 1, 0, 0]]


def test_probabilities_are_float32_or_better():
    logits = torch.tensor([0.1, 3.0, 2.0])
    assert probabilities(logits.bfloat16()).dtype == torch.float32
    assert probabilities(logits.double(), temperature=0).tolist() == [0.0, 1.0, 0.0]
    assert probabilities(logits.double()).dtype == torch.float64
