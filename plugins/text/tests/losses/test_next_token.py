"""Which tokens of a batch are learned."""

import torch
from tiny_language_models import tokens_of

from limbeck import Batch
from limbeck_text.losses.next_token import next_token_mask


def test_left_padded_rows_lose_what_would_be_predicted_from_padding():
    x0 = tokens_of(1)
    real = torch.ones_like(x0, dtype=torch.bool)
    real[0, :3] = False
    assert next_token_mask(Batch(x0=x0, attention_mask=real))[0].tolist() == [False] * 3 + [True] * 8
