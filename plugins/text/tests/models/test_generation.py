"""Completion of prompts, token by token."""

import pytest
import torch
from tiny_transformers import Words, build, some_tokens

from limbeck import Rng
from limbeck.errors import LimbeckError
from limbeck_text.models.language_model import LanguageModel
from limbeck_text.models.llama import pydocs_lm


def test_greedy_generation_with_a_cache_is_greedy_recomputation(pair):
    _, model = pair
    prompt = some_tokens(3, 5)
    tokens, mask = model.generate_tokens(prompt, length=6, temperature=0, rng=Rng(0), stop=False)
    expected = prompt
    with torch.no_grad():
        for _ in range(6):
            expected = torch.cat([expected, model(expected)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(tokens, expected) and mask.all()


def test_prompts_of_different_lengths_are_completed_as_if_alone(pair):
    _, model = pair
    a, b = some_tokens(1, 5), some_tokens(1, 3, seed=4)
    padded = torch.cat([a, torch.cat([b, b.new_full((1, 2), 2)], 1)])  # padded on the right, with the end's id
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2], dtype=torch.bool)
    both, real = model.generate_tokens(padded, mask, length=6, temperature=0, rng=Rng(0), stop=False)
    alone_a, _ = model.generate_tokens(a, length=6, temperature=0, rng=Rng(0), stop=False)
    alone_b, _ = model.generate_tokens(b, length=6, temperature=0, rng=Rng(0), stop=False)
    assert torch.equal(both[0], alone_a[0]) and torch.equal(both[1, 2:], alone_b[0])
    assert real[1].tolist() == [False] * 2 + [True] * 9


class _Scripted(LanguageModel):
    """Always continues with the next of a list of tokens."""

    script = (7, 5, 8, 2)

    def head(self):
        head = super().head()
        scripted = self

        class Constant:
            vocab = head.vocab

            def logits(self, hidden):
                logits = torch.full((len(hidden), 300), -50.0)
                logits[:, scripted.script[scripted.calls]] = 50.0
                scripted.calls += 1
                return logits

        return Constant()


def test_a_row_ends_at_any_of_several_end_tokens_and_is_padded_after():
    model = _Scripted(build("llama"), Words())
    model.calls = 0
    tokens, mask = model.generate_tokens(some_tokens(2, 3), length=4, rng=Rng(0))
    assert tokens[:, 3:].tolist() == [[7, 5, 2, 2]] * 2  # 5 ends; 2 pads, although it is an end, too
    assert mask[:, 3:].tolist() == [[True, True, False, False]] * 2
    model.calls = 0
    assert list(model.stream(some_tokens(1, 3)[0], length=4, rng=Rng(0))) == [7]
    model.calls = 0
    assert model.generate_tokens(some_tokens(1, 3), length=4, rng=Rng(0), stop=False)[0][0, 3:].tolist() == [7, 5, 8, 2]


def test_a_stream_draws_what_generation_draws():
    model = LanguageModel(build("llama_untied"), Words())
    prompt = some_tokens(1, 4)
    whole, _ = model.generate_tokens(prompt, length=12, rng=Rng(3), stop=False)
    assert list(model.stream(prompt[0], length=12, rng=Rng(3), stop=False)) == whole[0, 4:].tolist()
    other, _ = model.generate_tokens(prompt, length=12, rng=Rng(4), stop=False)
    assert not torch.equal(whole, other)


def test_generation_is_in_evaluation_mode_and_leaves_the_mode_alone():
    model = pydocs_lm(hidden=16, layers=1, heads=2, dropout=0.5).train()
    prompt = some_tokens(2, 4)
    a, _ = model.generate_tokens(prompt, length=5, temperature=0, rng=Rng(0))
    b, _ = model.eval().generate_tokens(prompt, length=5, temperature=0, rng=Rng(0))
    assert torch.equal(a, b)
    model.train()
    model.generate_tokens(prompt, length=1, rng=Rng(0))
    assert model.training and all(module.training for module in model.modules())


def test_an_empty_prompt_and_one_beyond_the_context_are_refused():
    model = LanguageModel(build("llama"), Words())
    with pytest.raises(LimbeckError, match="the prompt is empty: a language model continues at least one token"):
        model.generate_tokens(torch.zeros(1, 0, dtype=torch.int64), length=3, rng=Rng(0))
    mask = torch.tensor([[True, True], [False, False]])
    with pytest.raises(LimbeckError, match=r"the prompt \(row 1\) is empty"):
        model.generate_tokens(some_tokens(2, 2), mask, length=3, rng=Rng(0))
    with pytest.raises(
        LimbeckError, match="a prompt of 60 tokens and 5 new ones do not fit into the model's context of 64"
    ):
        model.generate_tokens(some_tokens(1, 60), length=5, rng=Rng(0))
    with pytest.raises(LimbeckError, match="do not fit"):
        next(model.stream(some_tokens(1, 60)[0], length=5, rng=Rng(0)))


def test_a_model_that_returns_nan_is_named():
    broken = build("llama")
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    with pytest.raises(LimbeckError, match="logits are not finite at new token 0"):
        LanguageModel(broken, Words()).generate_tokens(some_tokens(1, 3), length=2, rng=Rng(0))
