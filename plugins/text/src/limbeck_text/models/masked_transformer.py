"""A masked-diffusion transformer: a bidirectional network that predicts every masked token from the visible ones.

The time is no input: with a masked process the optimal prediction depends on t only through which tokens are masked
(Sahoo et al. 2024, MDLM; Ou et al. 2024, RADD). Letters: B batch, L sequence, V vocabulary, H width, N heads.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.process.categorical import MaskedProcess
from limbeck_diffusion.networks.attention import attend
from limbeck_text.options.models import PydocsMaskedOptions
from limbeck_text.tokenizers.codec import text_space
from limbeck_text.tokenizers.tokenizer import bundled

ROTARY_BASE = 10_000.0


def rotary(length: int, size: int) -> Tensor:
    """cos and sin of position times frequency, (2, length, size / 2), float32; Su et al. 2021, Eq. 15."""
    frequency = ROTARY_BASE ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Halves of the last axis turned as planes: x (B, N, L, D), table (2, L, D / 2)."""
    cos, sin = table.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Block(nn.Module):
    """Attention over all positions, then a two-layer network; both on normalised input, both added to it."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, 3 * hidden, bias=False)
        self.gather = nn.Linear(hidden, hidden, bias=False)
        self.widen, self.narrow = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """(B, L, H) -> (B, L, H)"""
        batch, length, hidden = x.shape
        qkv = self.project(self.norm_attention(x)).view(batch, length, 3, self.heads, hidden // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, N, L, H / N) each
        seen = attend(rotate(q, table), rotate(k, table), v)  # (B, N, L, H / N)
        x = x + self.gather(seen.transpose(1, 2).reshape(batch, length, hidden))
        return x + self.narrow(F.gelu(self.widen(self.norm_feed(x)), approximate="tanh"))


class MaskedTransformer(Predictor):
    """`forward(xt, t, cond)` returns logits (B, L, V) over the true vocabulary; the mask is an input, never predicted.

    Logits at visible positions carry no meaning: those tokens are known, and samplers and losses keep them (the
    carry-over of SUBS). Conditions are not read either: a prompt is part of xt, where samplers clamp it. Features
    are the hidden states (B, L, H): 0 the embedding, 1 .. layers after each block.

    Args:
        process: masked, with `vocab` V; its mask is the last row of the embedding.
        space: event (L,). Shorter sequences are accepted, longer ones are refused.
        hidden: H, a multiple of 2 * heads.
    """

    process: MaskedProcess

    def __init__(self, process: MaskedProcess, space: Space, *, hidden: int = 192, layers: int = 3, heads: int = 3):
        super().__init__()
        if hidden % (2 * heads):
            raise ValueError(f"hidden must be a multiple of 2 * heads = {2 * heads}; got {hidden}")
        self.process, self.space = process, space
        self.embedding = nn.Embedding(process.states, hidden)  # its first V rows are the head, too
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.bias = nn.Parameter(torch.zeros(process.vocab))
        self.table: Tensor
        self.register_buffer("table", rotary(space.event[0], hidden // heads), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("gather.weight", "narrow.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if residual else 0.02)

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        if s is not None:
            raise TypeError("a MaskedTransformer takes no second time s: it predicts tokens, not states")
        length = xt.shape[1]
        if length > self.space.event[0]:
            raise ValueError(f"a sequence of {length} tokens is longer than the context of {self.space.event[0]}")
        x = self.embedding(xt)  # (B, L, H)
        table = self.table[:, :length]
        hidden = [x]
        for block in self.blocks:
            x = block(x, table)
            hidden.append(x)
        logits = F.linear(self.norm(x), self.embedding.weight[: self.process.vocab], self.bias)  # (B, L, V)
        return Prediction(logits=logits, features=tuple(hidden[index] for index in features))


# --- the component ---------------------------------------------------------------------------------------------------


def pydocs_masked(**options: Any) -> MaskedTransformer:
    """A fresh one for the documents of CPython."""
    chosen = PydocsMaskedOptions(**options)
    tokenizer = bundled()
    process = MaskedProcess(tokenizer.vocab, chosen.schedule)
    space = text_space(chosen.length, tokenizer)
    return MaskedTransformer(process, space, hidden=chosen.hidden, layers=chosen.layers, heads=chosen.heads)
