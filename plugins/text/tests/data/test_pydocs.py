"""Windows of tokens and prompts."""

import pytest
import torch

from limbeck import Rng
from limbeck_text.data import cpython_docs
from limbeck_text.data.pydocs import Pydocs
from limbeck_text.tokenizers.tokenizer import bundled


def test_windows_are_the_stream_in_order():
    data = Pydocs(length=16)
    x0 = data.batch(torch.tensor([0, 1, 7])).x0
    assert torch.equal(x0[:2].flatten(), data.tokens[:32])
    assert torch.equal(x0[2], data.tokens[112:128])


def test_documents_end_with_the_end_of_sequence_token():
    eos = bundled().eos[0]
    tokens = Pydocs("held_out").tokens
    assert int((tokens == eos).sum()) == len(cpython_docs.texts("held_out")) and int(tokens[-1]) == eos


def test_a_stride_makes_windows_overlap_and_the_held_out_split_never():
    data = Pydocs(length=16, stride=4)
    x0 = data.batch(torch.tensor([0, 1])).x0
    assert torch.equal(x0[0, 4:], x0[1, :12])
    assert data.split("held_out").step == 16
    last = data.batch(torch.tensor([len(data) - 1])).x0
    assert last.shape == (1, 16)


def test_a_prompt_is_the_condition_and_is_not_learned():
    batch = Pydocs(length=16, prompt=5).batch(torch.tensor([3, 4]))
    assert torch.equal(batch.cond, batch.x0[:, :5])
    assert batch.loss_mask.sum(1).tolist() == [11, 11] and not batch.loss_mask[:, :5].any()
    conditions = Pydocs(length=16, prompt=5).conditions(7, Rng(0))
    assert conditions.shape == (7, 5)


def test_without_a_prompt_there_is_no_condition():
    assert Pydocs(length=16).conditions(3, Rng(0)) is None


def test_a_prompt_that_fills_the_window_is_refused():
    with pytest.raises(ValueError, match="a prompt of 16 tokens leaves nothing to complete in windows of 16"):
        Pydocs(length=16, prompt=16)
