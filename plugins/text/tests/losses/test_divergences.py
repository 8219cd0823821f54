"""Every divergence against brute force in float64, values and gradients, and against numbers worked out on paper."""

import math
from functools import partial

import pytest
import torch

from limbeck_text.losses.divergences import (
    forward_kl,
    generalized_jsd,
    log_mixture,
    log_probs,
    reverse_kl,
    skewed_kl,
    skewed_reverse_kl,
    token_divergence,
    total_variation,
)

P, Q = (0.7, 0.2, 0.1), (0.2, 0.3, 0.5)  # the toy of every formula here
TEACHER_LOGITS, STUDENT_LOGITS = (0.3, 0.9, -1.0, 0.1), (1.0, -0.5, 0.2, 0.7)


def distributions(p=P, q=Q):
    return torch.tensor(p, dtype=torch.float64).log(), torch.tensor(q, dtype=torch.float64).log()


def kl(p, q):
    """Brute force in Python's doubles."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def mix(p, q, beta):
    return [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]


BRUTE = {
    "forward_kl": kl,
    "reverse_kl": lambda p, q: kl(q, p),
    "generalized_jsd": lambda p, q: 0.3 * kl(p, mix(p, q, 0.3)) + 0.7 * kl(q, mix(p, q, 0.3)),
    "skewed_kl": lambda p, q: kl(p, mix(p, q, 0.1)),
    "skewed_reverse_kl": lambda p, q: kl(q, mix(p, q, 0.9)),
    "total_variation": lambda p, q: sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2,
}


def test_the_toy_numbers_of_every_divergence():
    p, q = distributions()
    found = [forward_kl(p, q), reverse_kl(p, q), *(generalized_jsd(p, q, b) for b in (0.1, 0.5, 0.9))]
    found += [skewed_kl(p, q, 0.1), skewed_reverse_kl(p, q, 0.1), total_variation(p, q)]
    expected = [0.6348972651, 0.6758058950, 0.0558908288, 0.1513581116, 0.0583987238, 0.4938152504, 0.5077543218, 0.5]
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", BRUTE)
def test_values_and_gradients_equal_brute_force_on_random_distributions(name):
    function = token_divergence(name, beta=0.3, skew=0.1)
    generator = torch.Generator().manual_seed(3)
    for vocab in (2, 3, 7):
        z_p, z_q = torch.randn(2, vocab, generator=generator, dtype=torch.float64) * 2
        z_q.requires_grad_(True)
        value = function(log_probs(z_p), log_probs(z_q))
        (gradient,) = torch.autograd.grad(value, z_q)

        def brute(logits, p=z_p.softmax(-1).tolist()):
            return BRUTE[name](p, torch.tensor(logits, dtype=torch.float64).softmax(-1).tolist())

        point = z_q.tolist()
        assert value.item() == pytest.approx(brute(point), abs=1e-13)
        for i in range(vocab):
            step = [1e-5 * (i == j) for j in range(vocab)]
            up, down = ([z + sign * h for z, h in zip(point, step, strict=True)] for sign in (1, -1))
            slope = (brute(up) - brute(down)) / 2e-5
            assert gradient[i].item() == pytest.approx(slope, abs=1e-8), (vocab, i)
        assert gradient.abs().max() > 1e-3  # a test of zeros would prove nothing


def test_gradients_in_the_logits_have_their_closed_forms():
    p, z = torch.tensor(P, dtype=torch.float64), torch.tensor(Q, dtype=torch.float64).log()
    z.requires_grad_(True)
    q, t = z.detach().exp(), p.log()

    def gradient(function):
        return torch.autograd.grad(function(t, log_probs(z)), z)[0]

    torch.testing.assert_close(gradient(forward_kl), q - p, rtol=0, atol=1e-14)
    reverse = q * (q.log() - t - reverse_kl(t, q.log()))
    torch.testing.assert_close(gradient(reverse_kl), reverse, rtol=0, atol=1e-14)
    for beta in (0.1, 0.5, 0.9):
        in_log_probs = (1 - beta) * q * (q.log() - log_mixture(t, q.log(), beta))
        expected = in_log_probs - q * in_log_probs.sum()  # the softmax's Jacobian
        torch.testing.assert_close(gradient(partial(generalized_jsd, beta=beta)), expected, rtol=0, atol=1e-14)


def test_the_generalized_jsd_divided_by_its_weight_tends_to_the_two_kls():
    p, q = distributions()
    assert generalized_jsd(p, q, 1e-6) / 1e-6 == pytest.approx(0.63489646, abs=1e-8)
    assert generalized_jsd(p, q, 1e-6) / 1e-6 == pytest.approx(forward_kl(p, q).item(), abs=2e-6)
    assert generalized_jsd(p, q, 1 - 1e-6) / 1e-6 == pytest.approx(reverse_kl(p, q).item(), abs=2e-6)


def test_the_generalized_jsd_jumps_at_its_ends():
    p, q = distributions()
    assert generalized_jsd(p, q, 0.0) == forward_kl(p, q) and generalized_jsd(p, q, 1.0) == reverse_kl(p, q)
    assert generalized_jsd(p, q, 1e-9) < 1e-8 < generalized_jsd(p, q, 0.0)
    for beta in (-0.1, 1.1):
        with pytest.raises(ValueError, match="share of the mixture, 0 to 1; got"):
            generalized_jsd(p, q, beta)


def test_bounds_hold_and_are_reached_by_distributions_without_common_support():
    certain_a, certain_b = (
        log_probs(torch.tensor([0.0, -200.0]).double()),
        log_probs(torch.tensor([-200.0, 0.0]).double()),
    )
    for beta in (0.1, 0.5, 0.8):
        entropy = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
        assert generalized_jsd(certain_a, certain_b, beta) == pytest.approx(entropy, abs=1e-12)
        assert generalized_jsd(*distributions(), beta) < entropy
    assert skewed_kl(certain_a, certain_b, 0.1) == pytest.approx(-math.log(0.1), abs=1e-12)
    assert skewed_reverse_kl(certain_a, certain_b, 0.1) == pytest.approx(-math.log(0.1), abs=1e-12)
    assert total_variation(certain_a, certain_b) == pytest.approx(1.0, abs=1e-12)
    p, q = distributions()
    assert skewed_kl(p, q, 0.0) == forward_kl(p, q) and skewed_reverse_kl(p, q, 0.0) == reverse_kl(p, q)


def test_temperature_squared_keeps_the_size_of_the_loss():
    # T^2 KL -> |centred z_p - centred z_q|^2 / (2 V)
    z_p, z_q = (torch.tensor(z, dtype=torch.float64) for z in (TEACHER_LOGITS, STUDENT_LOGITS))
    for temperature, expected in ((1, 0.480471), (10, 0.495164), (1000, 0.493459)):
        kl_t = forward_kl(log_probs(z_p, temperature), log_probs(z_q, temperature))
        assert temperature**2 * kl_t == pytest.approx(expected, abs=1e-6)
    centred = (z_p - z_p.mean()) - (z_q - z_q.mean())
    assert centred.square().sum() / 8 == pytest.approx(0.4934375, abs=1e-12)


def test_the_gradient_of_hintons_term_is_the_temperature_times_the_difference_of_probabilities():
    z_p, z_q = (torch.tensor(z, dtype=torch.float64) for z in (TEACHER_LOGITS, STUDENT_LOGITS))
    z_q.requires_grad_(True)
    loss = 3.0**2 * forward_kl(log_probs(z_p, 3.0), log_probs(z_q, 3.0))
    expected = 3.0 * ((z_q.detach() / 3).softmax(-1) - (z_p / 3).softmax(-1))
    torch.testing.assert_close(torch.autograd.grad(loss, z_q)[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", BRUTE)
def test_equal_distributions_are_at_distance_and_gradient_zero(name):
    z = torch.randn(5, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    value = token_divergence(name)(log_probs(z.detach()), log_probs(z))
    torch.testing.assert_close(value, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), z)[0], torch.zeros_like(z), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", BRUTE)
def test_a_token_that_both_rule_out_adds_nothing_and_no_nan(name):
    inf = float("inf")
    z_p, z_q = torch.tensor([0.3, 0.9, -1.0, -inf]), torch.tensor([1.0, -0.5, 0.2, -inf])
    z_q.requires_grad_(True)
    value = token_divergence(name)(log_probs(z_p), log_probs(z_q))
    without = token_divergence(name)(log_probs(z_p[:3]), log_probs(z_q[:3]))
    assert value.item() == pytest.approx(without.item(), abs=1e-6)
    gradient = torch.autograd.grad(value, z_q)[0]
    assert gradient.isfinite().all() and gradient[3] == 0


def test_a_token_that_only_one_rules_out_costs_what_it_should():
    possible, ruled_out = log_probs(torch.tensor([0.0, 0.0])), log_probs(torch.tensor([0.0, -float("inf")]))
    assert forward_kl(ruled_out, possible) == pytest.approx(math.log(2), abs=1e-6)
    assert forward_kl(possible, ruled_out) > 1e29  # infinite in truth
    assert generalized_jsd(possible, ruled_out).isfinite()


def test_half_precision_logits_are_judged_in_float32():
    z_p, z_q = torch.randn(2, 6, 1000, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    for name in BRUTE:
        value = token_divergence(name)(log_probs(z_p), log_probs(z_q))
        exact = token_divergence(name)(log_probs(z_p.double()), log_probs(z_q.double()))
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)


def test_an_unknown_divergence_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no divergence named 'kullback'. Known: forward_kl, reverse_kl"):
        token_divergence("kullback")
