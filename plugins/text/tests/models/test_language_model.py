"""The adapter of transformers' causal language models, on tiny models built here."""

import copy

import pytest
import torch
from tiny_transformers import Words, build, some_tokens

from limbeck.errors import LimbeckError
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.models.llama import pydocs_lm


def test_logits_are_the_models_own_on_the_true_vocabulary(pair):
    plain, model = pair
    tokens = some_tokens()
    with torch.no_grad():
        logits, expected = model(tokens), plain(input_ids=tokens).logits
    assert logits.shape == (2, 9, 300) and expected.std() > 0.1
    torch.testing.assert_close(logits, expected[..., :300], rtol=1e-5, atol=1e-6)


def test_padding_on_either_side_changes_nothing(pair):
    _, model = pair
    tokens = some_tokens()
    noise = some_tokens(seed=2)[:, :4]  # whatever stands at padding
    real, padding = torch.ones_like(tokens, dtype=torch.bool), torch.zeros_like(noise, dtype=torch.bool)
    with torch.no_grad():
        expected = model(tokens)
        right = model(torch.cat([tokens, noise], 1), torch.cat([real, padding], 1))[:, :9]
        left = model(torch.cat([noise, tokens], 1), torch.cat([padding, real], 1))
    torch.testing.assert_close(right, expected, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(left[:, 4:], expected, rtol=1e-5, atol=2e-6)
    assert torch.isfinite(left).all()  # padding that is nan would spoil gradients although it is masked


def test_gradients_pass_padding_without_nan(pair):
    _, model = pair
    model = copy.deepcopy(model)
    tokens, mask = some_tokens(), torch.ones(2, 9, dtype=torch.bool)
    mask[0, :5] = False
    model(tokens, mask)[mask].square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients) and any(g.abs().max() > 0 for g in gradients)


def test_then_sees_hidden_states_and_the_head_that_make_the_logits(pair):
    _, model = pair
    tokens = some_tokens()
    with torch.no_grad():
        hidden, head = model(tokens, then=lambda hidden, head: (hidden, head))
        torch.testing.assert_close(head.logits(hidden), model(tokens))
    assert head.weight.shape[0] == 300


def test_a_sequence_longer_than_the_context_is_refused():
    with pytest.raises(LimbeckError, match="65 tokens is longer than the model's context of 64"):
        LanguageModel(build("llama"), Words())(torch.zeros(1, 65, dtype=torch.int64))


def test_a_head_smaller_than_the_vocabulary_is_refused():
    words = Words()
    words.vocab = 301
    with pytest.raises(LimbeckError, match="301 tokens and the model only 300 rows"):
        LanguageModel(build("llama"), words)


def test_a_full_copy_is_equal_and_independent(pair):
    _, model = pair
    student = model.freeze().trainable_copy()
    tokens = some_tokens()
    with torch.no_grad():
        torch.testing.assert_close(student.eval()(tokens), model(tokens))
    assert all(p.requires_grad for p in student.parameters()) and not any(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        next(student.parameters()).add_(1.0)
        assert not torch.allclose(student.eval()(tokens), model(tokens))


def test_tied_weights_stand_once_in_the_state_and_stay_tied():
    model = pydocs_lm(hidden=16, layers=1, heads=2)
    state = model.state_dict()
    assert "model.lm_head.weight" not in state and "model.model.embed_tokens.weight" in state
    other = copy.deepcopy(pydocs_lm(hidden=16, layers=1, heads=2))
    other.load_state_dict({name: value.clone() for name, value in state.items()})
    assert other.plain.lm_head.weight is other.plain.model.embed_tokens.weight
    torch.testing.assert_close(other.head().weight, model.head().weight)
    untied = pydocs_lm(hidden=16, layers=1, heads=2, tied=False)
    assert "model.lm_head.weight" in untied.state_dict()
