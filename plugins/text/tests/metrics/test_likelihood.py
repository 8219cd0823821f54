"""Likelihood metrics against their definitions."""

import math

import pytest
import torch
from tiny_language_models import small_llama, tokens_of

import limbeck
from limbeck.errors import LimbeckError
from limbeck_text.metrics.likelihood import NLL, GenerativeNLL, KLToTeacher, bytes_of, token_nll, until_end
from limbeck_text.tokenizers.tokenizer import bundled


def test_token_nll_is_minus_the_log_probability_of_the_next_token():
    network, tokens = small_llama(), tokens_of(2, 6)
    with torch.no_grad():
        log_p = network(tokens).double().log_softmax(-1)
        expected = torch.stack([-log_p[b, k, tokens[b, k + 1]] for b in range(2) for k in range(5)]).reshape(2, 5)
        torch.testing.assert_close(token_nll(network, tokens).double(), expected, rtol=1e-5, atol=1e-5)


def test_held_out_nll_is_the_mean_over_tokens_and_counts_bytes(folder):
    data = limbeck.create("data", "text/pydocs", path=str(folder), length=8)
    network = small_llama()
    held_out = data.split("held_out")
    x0 = held_out.batch(torch.arange(len(held_out))).x0
    with torch.no_grad():
        found = NLL(windows=10_000, batch_size=3)(network, None, data)
        total = float(token_nll(network, x0).double().sum())
    size = sum(bytes_of(bundled(), row) for row in x0[:, 1:])
    assert found["nll"] == pytest.approx(total / (7 * len(held_out)), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(total / size / math.log(2), rel=0.01)  # ends of rows may join
    assert found["nll"] > 5


def test_kl_to_the_teacher_is_zero_for_the_teacher_itself_and_needs_one(folder):
    data = limbeck.create("data", "text/pydocs", path=str(folder), length=8)
    metric, teacher, other = KLToTeacher(windows=5), small_llama(0), small_llama(1)
    with torch.no_grad():
        assert metric(teacher, teacher, data)["kl_to_teacher"] == pytest.approx(0, abs=1e-5)
        assert metric(other, teacher, data)["kl_to_teacher"] > 0.1
    with pytest.raises(LimbeckError, match="this run has none"):
        metric(other, None, data)


def test_rows_count_up_to_their_first_end_and_prompts_do_not():
    tokens = torch.tensor([[1, 5, 6, 1, 7], [4, 5, 6, 7, 8]])
    assert until_end(tokens, (1,)).int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert until_end(tokens, (1, 6), prompt=2).int().tolist() == [[0, 0, 1, 0, 0], [0, 0, 1, 0, 0]]


def test_generative_nll_prefers_text_to_noise():
    data = limbeck.create("data", "text/pydocs", split="held_out", length=64)
    text = data.batch(torch.arange(0, 40, 5)).x0
    noise = torch.randint(2, 4096, text.shape, generator=torch.Generator().manual_seed(0))
    judged = GenerativeNLL()
    real, nonsense = (judged(x, None, data)["generative_nll"] for x in (text, noise))
    assert 2.5 < real < 6.5 < nonsense
