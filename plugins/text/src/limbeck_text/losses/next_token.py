"""Which positions of a batch predict a token that is learned."""

import torch
from torch import Tensor

from limbeck.interfaces import Batch


def next_token_mask(batch: Batch) -> Tensor:
    """(B, L - 1), true where the token at l + 1 is real and to be learned; position l predicts it."""
    assert batch.x0 is not None
    valid = torch.ones_like(batch.x0[:, 1:], dtype=torch.bool)
    if batch.attention_mask is not None:
        valid = valid & batch.attention_mask[:, 1:].bool() & batch.attention_mask[:, :-1].bool()
    if batch.loss_mask is not None:
        valid = valid & batch.loss_mask[:, 1:].bool()
    return valid
