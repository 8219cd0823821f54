"""Samplers of tokens against distributions that can be enumerated."""

import itertools
import math

import pytest
import token_models as models
import torch

import limbeck
from limbeck.conditions import Conditions
from limbeck.process.categorical import MaskedProcess, UniformProcess
from limbeck.testing import FixedDraws, GaussianTeacher, MarkovChainTeacher
from limbeck_diffusion.samplers.categorical import (
    Ancestral,
    Confidence,
    keep_confident,
    prompt_of,
    shares,
)

CHAIN = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.9, 0.05]], dtype=torch.float64)
START = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
each_process = pytest.mark.parametrize(
    "process", [MaskedProcess(3), MaskedProcess(3, "cosine"), UniformProcess(3)], ids=repr
)


def chain(process):
    return MarkovChainTeacher(process, CHAIN, START, length=2)


def distribution_after(teacher, times):
    """The exact distribution of x after walking `times`, summed over every path: (S**L,), ordered as `all_states`."""
    process, length = teacher.process, teacher.length
    x = models.all_states(process, length)
    prior = process.prior()
    distribution = prior[x].prod(1)
    for t, s in itertools.pairwise(times):
        reached = (distribution > 0).nonzero()[:, 0]
        at = torch.full((len(reached),), float(t), dtype=torch.float64)
        p = process.posterior(x[reached], at, at - at + float(s), teacher.posterior(x[reached], at))  # (R, L, S)
        moves = torch.stack([p[:, i, x[:, i]] for i in range(length)]).prod(0)  # (R, S**L)
        distribution = distribution[reached] @ moves
    return distribution


def exact_distribution(teacher):
    distribution = torch.zeros(teacher.process.states**teacher.length, dtype=torch.float64)
    rows = models.Table(teacher.process, teacher.length).row(teacher.sequences())
    distribution[rows] = teacher.log_density(teacher.sequences()).exp()
    return distribution


def frequencies(teacher, x):
    rows = models.Table(teacher.process, teacher.length).row(x)
    return torch.bincount(rows, minlength=teacher.process.states**teacher.length).double() / len(x)


def total_variation(a, b):
    return 0.5 * float((a - b).abs().sum())


# --- ancestral -------------------------------------------------------------------------------------------------------


@each_process
def test_samples_have_the_distribution_that_enumeration_gives(process):
    teacher, steps, count = chain(process), 3, 40_000
    sampler = Ancestral()
    x = sampler(teacher, None, steps=steps, rng=limbeck.rng(0), batch_size=count).value
    assert x.dtype == torch.int64 and x.shape == (count, 2)
    expected = distribution_after(teacher, sampler.grid(process, steps))
    assert float(expected.sum()) == pytest.approx(1)
    # nine outcomes: the expected distance of 40,000 draws from their own distribution is 0.006
    assert total_variation(frequencies(teacher, x), expected) < 0.015
    assert (
        total_variation(expected, exact_distribution(teacher)) > 0.03
    )  # three steps are not yet the data's distribution


@each_process
def test_more_steps_come_closer_to_the_data(process):
    teacher = chain(process)
    errors = [
        total_variation(distribution_after(teacher, Ancestral().grid(process, n)), exact_distribution(teacher))
        for n in (1, 4, 16, 64)
    ]
    assert errors[0] > 0.15
    assert all(b < 0.5 * a for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.01


def test_one_step_draws_every_token_from_its_own_marginal():
    teacher, n = models.two_tokens(), 100
    u = torch.cartesian_prod(*[(torch.arange(n, dtype=torch.float64) + 0.5) / n] * 2)
    x = Ancestral()(teacher, None, steps=1, rng=FixedDraws({"step/0": u, "noise": u}), batch_size=n * n).value
    table = torch.bincount(2 * x[:, 0] + x[:, 1], minlength=4).double() / n**2
    torch.testing.assert_close(table, torch.tensor([0.455, 0.245, 0.195, 0.105], dtype=torch.float64))


def test_a_grid_even_in_alpha_lifts_as_many_tokens_in_every_step():
    process = MaskedProcess(2, "cosine")
    alpha = process.alpha(Ancestral(spacing="alpha").grid(process, 4))
    torch.testing.assert_close(alpha, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert float(process.alpha(Ancestral().grid(process, 4))[1]) == pytest.approx(math.cos(0.375 * math.pi))


def test_all_masks_are_gone_in_the_end_and_visible_tokens_never_change():
    teacher = models.independent([0.5, 0.5], 12)
    states = list(Ancestral().states(teacher, None, steps=5, rng=limbeck.rng(0), batch_size=50))
    assert len(states) == 6 and bool((states[0] == 2).all()) and not bool((states[-1] == 2).any())
    for before, after in itertools.pairwise(states):
        seen = before != 2
        assert torch.equal(after[seen], before[seen])


def test_the_same_rng_gives_the_same_samples():
    teacher = chain(UniformProcess(3))
    first, again, other = (
        Ancestral()(teacher, None, steps=4, rng=limbeck.rng(seed), batch_size=64).value for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    noise = torch.zeros(64, 2, dtype=torch.int64)
    assert torch.equal(next(Ancestral().states(teacher, None, steps=4, rng=limbeck.rng(1), noise=noise)), noise)


# --- temperature ------------------------------------------------------------------------------------------------------


def test_a_cold_sampler_takes_the_likeliest_tokens():
    teacher = models.independent([0.2, 0.5, 0.3], 6)
    for sampler in (Ancestral(temperature=0), Confidence(temperature=0), Ancestral(top_p=0.4)):
        assert bool((sampler(teacher, None, steps=3, rng=limbeck.rng(0), batch_size=8).value == 1).all())


# --- confidence ------------------------------------------------------------------------------------------------------


def test_shares_add_up_and_differ_by_one_at_most():
    count = torch.tensor([7, 3, 0])
    given = torch.stack([shares(count, 4, k) for k in range(4)])
    assert given[:, 0].tolist() == [2, 2, 2, 1] and torch.equal(given.sum(0), count)


def test_the_most_confident_masks_are_lifted_and_nothing_else():
    xt = torch.tensor([[3, 0, 3, 3], [3, 3, 3, 3]])
    tokens = torch.tensor([[1, 1, 2, 1], [0, 1, 2, 0]])
    score = torch.tensor([[0.1, 9.0, 0.5, 0.4], [0.9, 0.8, 0.7, 0.95]])
    got = keep_confident(xt, tokens, score, torch.tensor([2, 1]), 3)
    assert got.tolist() == [[3, 0, 2, 1], [3, 3, 3, 0]]


def test_confidence_goes_from_the_surest_token_on():
    # token 2 is nearly certain, so it is lifted first; token 1 then knows it
    process = MaskedProcess(2)
    joint = torch.tensor([[0.47, 0.03], [0.43, 0.07]], dtype=torch.float64)
    teacher = MarkovChainTeacher(process, joint / joint.sum(1, keepdim=True), joint.sum(1), length=2)
    states = list(Confidence().states(teacher, None, steps=2, rng=limbeck.rng(0), batch_size=4000))
    first = states[1]
    drawn_surely = first[:, 1] == 0
    assert float(drawn_surely.double().mean()) == pytest.approx(0.9, abs=0.02)  # whenever token 2 came out as 0
    assert bool((first[drawn_surely][:, 0] == 2).all()) and not bool((states[-1] == 2).any())


def test_of_independent_tokens_confidence_changes_the_order_and_not_the_distribution():
    teacher = models.independent([0.6, 0.4], 2)
    x = Confidence(noise=1.0)(teacher, None, steps=1, rng=limbeck.rng(0), batch_size=20_000).value
    assert float((x == 0).double().mean()) == pytest.approx(0.6, abs=0.01)


# --- prompts and bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [Ancestral(), Confidence()], ids=["ancestral", "confidence"])
def test_a_prompt_is_kept_and_what_follows_is_conditioned_on_it(sampler):
    teacher = models.two_tokens()
    for first, chance in ((0, 6 / 7), (1, 1 / 6)):  # p(x2 = 0 | x1)
        prompt = torch.full((4000, 1), first)
        x = sampler(teacher, prompt, steps=2, rng=limbeck.rng(0)).value
        assert bool((x[:, 0] == first).all())
        assert float((x[:, 1] == 0).double().mean()) == pytest.approx(chance, abs=0.03)


def test_uniform_noise_keeps_a_prompt_in_every_state():
    teacher = chain(UniformProcess(3))
    states = Ancestral().states(teacher, torch.full((20, 1), 2), steps=4, rng=limbeck.rng(0))
    assert all(bool((x[:, 0] == 2).all()) for x in states)


def test_class_labels_and_named_prompts_are_told_apart():
    assert prompt_of(torch.tensor([1, 2])) is None and prompt_of(torch.zeros(2, 3)) is None and prompt_of(None) is None
    tokens = torch.tensor([[1, 2]])
    assert prompt_of(tokens) is tokens and prompt_of(Conditions(prompt=tokens)) is tokens
    assert prompt_of(Conditions(label=torch.tensor([1]))) is None


@pytest.mark.parametrize(
    "prompt, words",
    [
        (torch.zeros(2, 0, dtype=torch.int64), "the prompt is empty"),
        (torch.zeros(2, 2, dtype=torch.int64), "a prompt of 2 tokens fills the context of 2: use at most 1"),
        (torch.full((2, 1), 2), "the prompt has token 2; the model knows 0 to 1"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_refused(prompt, words):
    with pytest.raises(ValueError, match=words):
        Ancestral()(models.two_tokens(), prompt, steps=2, rng=limbeck.rng(0))


def test_samplers_say_what_they_cannot_walk():
    with pytest.raises(TypeError, match="sampler Ancestral walks tokens, but GaussianTeacher lives on"):
        Ancestral()(
            GaussianTeacher(limbeck.RectifiedFlow(), mean=0.0, std=1.0), None, steps=2, rng=limbeck.rng(0), batch_size=2
        )
    with pytest.raises(TypeError, match="sampler confidence lifts masks"):
        Confidence()(chain(UniformProcess(3)), None, steps=2, rng=limbeck.rng(0), batch_size=2)
    with pytest.raises(ValueError, match="how many samples"):
        Ancestral()(models.two_tokens(), None, steps=2, rng=limbeck.rng(0))
