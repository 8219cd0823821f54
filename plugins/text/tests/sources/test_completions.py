"""Completions of beginnings as batches."""

import pytest
import torch
from tiny_language_models import (
    EOS,
    TinyLM,
)

import limbeck
from limbeck import Batch
from limbeck.errors import LimbeckError
from limbeck_text.sources.completions import complete, prompts_of


def test_prompts_are_what_comes_before_the_first_learned_token():
    x0 = torch.tensor([[2, 1, 0, 3], [1, 2, 3, 1]])
    learned = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]]).bool()
    tokens, mask = prompts_of(Batch(x0=x0, loss_mask=learned), 9)
    assert tokens.tolist() == [[2, 1], [0, 1]] and mask.tolist() == [[True, True], [False, True]]
    tokens, mask = prompts_of(Batch(x0=x0), 3)
    assert tokens.tolist() == x0[:, :3].tolist() and mask.all()
    padded = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    tokens, mask = prompts_of(Batch(x0=x0, attention_mask=padded), 2)
    assert tokens.tolist() == [[1, 0], [1, 2]]
    with pytest.raises(LimbeckError, match=r"row 1 of the batch has an empty prompt \(1 of 2 have\)"):
        prompts_of(Batch(x0=x0, loss_mask=torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]).bool()), 2)
    with pytest.raises(LimbeckError, match="a prompt of 4 tokens leaves nothing to complete in sequences of 4"):
        prompts_of(Batch(x0=x0), 4)


def test_a_completion_is_learned_up_to_its_end_and_padding_is_not():
    model = TinyLM(4)
    with torch.no_grad():
        model.weight[EOS] *= 4  # ends often
    prompt = torch.zeros(16, 2, dtype=torch.int64)
    batch = complete(
        model,
        prompt,
        torch.ones_like(prompt, dtype=torch.bool),
        length=5,
        temperature=1.0,
        top_p=1.0,
        rng=limbeck.rng(0),
    )
    assert batch.x0.shape == (16, 7) and not batch.loss_mask[:, :2].any()
    ends = 0
    for row, learned in zip(batch.x0.tolist(), batch.loss_mask.tolist(), strict=True):
        written = row[2:]
        stop = written.index(EOS) + 1 if EOS in written else 5
        ends += EOS in written
        assert learned[2:] == [True] * stop + [False] * (5 - stop)
    assert 0 < ends < 16
    with pytest.raises(LimbeckError, match="2 tokens and 11 to complete it are 13, and the model's context is 12"):
        complete(model, prompt, prompt == 0, length=11, temperature=1.0, top_p=1.0, rng=limbeck.rng(0))
