"""The layers of `ClipTransformer`: attention within a frame, attention over frames with a mask and a bias by distance,
and the block that holds both.

Letters: B batch, F frames, N places (patches) of a frame, M tokens of the condition, D width, Q frames of a call, K
frames attended to.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck_diffusion.networks.attention import attend

Attention = Literal["full", "causal", "block_causal"]


# --- masks and biases ------------------------------------------------------------------------------------------------


def visible(queries: Tensor, keys: Tensor, chunk: int, window: int | None = None, sink: int = 0) -> Tensor:
    """Which frames a frame sees, (Q, K) bool, of absolute places in time, queries (Q,) and keys (K,).

    With chunks of c frames (1: causal), frame q belongs to chunk floor(q / c), which begins at s. It sees the keys up
    to the end of its chunk; with a window only those from s - window on, and the first `sink` frames.
    """
    begin = (queries // chunk * chunk)[:, None]  # (Q, 1)
    seen = keys < begin + chunk
    if window is not None:
        seen = seen & ((keys >= begin - window) | (keys < sink))
    return seen


def distance_bias(table: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """(heads, Q, K) of a table (heads, 2 R + 1): column R + d for a key d frames later, d clamped to [-R, R]."""
    reach = table.shape[1] // 2
    distance = (keys[None, :] - queries[:, None]).clamp(-reach, reach)
    return table[:, reach + distance]


def first_preferences(heads: int, reach: int) -> Tensor:
    """A start for that table: head h prefers a distance of 0, -1, 1, -2, 2, ... frames, so that heads differ."""
    wanted = torch.tensor([((h + 1) // 2) * (-1 if h % 2 else 1) for h in range(heads)])
    return -0.5 * (torch.arange(-reach, reach + 1)[None, :] - wanted[:, None]).abs().float()


# --- layers ----------------------------------------------------------------------------------------------------------


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (B, F, N, D); shift and scale (B, F or 1, 1, D)."""
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:]), 1 + scale)


class SpaceAttention(nn.Module):
    """Every place of a frame attends to all places of the frame and to the tokens of the condition.

    x (B, F, N, D), tokens (B, M, D) -> (B, F, N, D). `told` makes keys and values of the tokens."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.told = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        frames = x.shape[1]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # (B, F, heads, N, d)
        of_tokens = self.told(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (2, B, heads, M, d)
        token_k, token_v = of_tokens[:, :, None].expand(-1, -1, frames, -1, -1, -1)
        mixed = attend(q, torch.cat([k, token_k], dim=-2), torch.cat([v, token_v], dim=-2))
        return self.out(mixed.transpose(2, 3).flatten(3))


class TimeAttention(nn.Module):
    """Every place attends over frames: those of this call, after those that a cache holds.

    x (B, Q, N, D); `held` keys and values (B, K - Q, N, D) or None; queries (Q,) and keys (K,) places in time; `seen`
    (Q, K), None: all. Returns (B, Q, N, D) and the keys and values of this call."""

    def __init__(self, width: int, heads: int, reach: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(first_preferences(heads, reach))

    def forward(
        self, x: Tensor, held: tuple[Tensor, Tensor] | None, queries: Tensor, keys: Tensor, seen: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, new_k, new_v = self.qkv(x).chunk(3, dim=-1)  # (B, Q, N, D)
        k, v = new_k, new_v
        if held is not None:
            k, v = torch.cat([held[0].to(k.dtype), k], dim=1), torch.cat([held[1].to(v.dtype), v], dim=1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4) for y in (q, k, v))  # (B, N, heads, F, d)
        bias = distance_bias(self.distance, queries, keys)
        if seen is not None:
            bias = bias.masked_fill(~seen, float("-inf"))
        mixed = attend(q, k, v, bias)  # (B, N, heads, Q, d)
        return self.out(mixed.permute(0, 3, 1, 2, 4).flatten(3)), new_k, new_v


class Block(nn.Module):
    """Space, time, network; each on input normalised and modulated by the frame's noise level, each gated."""

    def __init__(self, width: int, heads: int, reach: int):
        super().__init__()
        self.space = SpaceAttention(width, heads)
        self.time = TimeAttention(width, heads, reach)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.own = nn.Parameter(torch.zeros(9, width))  # what this block adds to the modulation that all share


__all__ = [
    "Attention", "Block", "SpaceAttention", "TimeAttention", "distance_bias", "first_preferences", "modulate",
    "visible",
]  # fmt: skip
