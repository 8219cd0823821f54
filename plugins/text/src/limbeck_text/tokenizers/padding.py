"""Sequences of different lengths in one tensor.

Letters: B batch, L sequence. A mask (B, L), true where a token is real, marks padding; ids never do, because the id
that pads is often the one that ends a text.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Rows of different lengths as tokens (B, L) and their mask (B, L), padded on the left: the next token of every row
    then has the same position."""
    tokens = [torch.tensor(list(row), dtype=torch.int64, device=device) for row in rows]
    real = [torch.ones_like(row, dtype=torch.bool) for row in tokens]
    return (
        pad_sequence(tokens, batch_first=True, padding_value=pad, padding_side="left"),
        pad_sequence(real, batch_first=True, padding_value=False, padding_side="left"),
    )


def moved_to_left(mask: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """The mask (B, L) and values of the same shape with all padding moved to the left of each row; what is real keeps
    its order."""
    order = mask.long().argsort(dim=-1, stable=True)
    return tuple(x.gather(-1, order) for x in (mask, *values))


def positions(mask: Tensor) -> Tensor:
    """Position of every real token among the real ones of its row, (B, L): padding does not count, on either side."""
    return (mask.long().cumsum(-1) - 1).clamp_min(0)
