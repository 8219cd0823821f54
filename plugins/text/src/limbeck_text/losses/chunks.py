"""Tokens a chunk at a time: how many, and the matrix product that makes their logits.

Letters: N tokens, n tokens of a chunk, H hidden width, V vocabulary.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from limbeck_text.losses.divergences import FLOOR
from limbeck_text.losses.head import Head

WORKING_COPIES = 8  # tensors (tokens of a chunk, V) that are there at once, at most
# Working memory of a chunk in MiB. A GPU wants large products; on a CPU 128 tokens are enough for those, and everything
# element by element goes twice as fast while it stays in the caches.
ON_CPU, CACHED, FEW_TOKENS = 512, 16, 128
ELSEWHERE = 4096


def chunk_size(vocab: int, hidden: Tensor) -> int:
    """How many tokens at a time keep the working memory within bounds: a function of V and the device."""
    size = 8 if hidden.dtype == torch.float64 else 4

    def tokens_in(mebibytes: int) -> int:
        return max(1, mebibytes * 2**20 // (WORKING_COPIES * vocab * size))

    if hidden.device.type != "cpu":
        return tokens_in(ELSEWHERE)
    return min(tokens_in(ON_CPU), max(tokens_in(CACHED), FEW_TOKENS))


def slices(count: int, size: int) -> Iterator[slice]:
    """The rows of N tokens, `size` at a time."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


class Projection:
    """hidden @ weight.T + bias in one precision, with the weight cast only once."""

    def __init__(self, head: Head, dtype: torch.dtype):
        self.head, self.dtype = head, dtype
        self.weight = head.weight.detach().to(dtype)
        self.bias = None if head.bias is None else head.bias.detach()

    def of(self, hidden: Tensor) -> Tensor:
        """(n, V), in float32 or better; finite where it is not nan (see `FLOOR`)."""
        projected = hidden.to(self.dtype) @ self.weight.T
        projected = projected.to(torch.promote_types(self.dtype, torch.float32))
        if self.bias is not None:
            projected.add_(self.bias)
        return projected.clamp_min_(FLOOR)


__all__ = ["Projection", "chunk_size", "slices"]
