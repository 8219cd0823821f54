"""A transformer of clips that is factorised over space and time: a frame attends within itself, then every place
attends over the frames, then a two-layer network; each at its own noise level.

Over time a frame sees all frames (`full`: a bidirectional teacher), those before it (`causal`) or those of its own and
of earlier chunks (`block_causal`). The last two run chunk by chunk with an explicit cache (`limbeck.networks.cache`),
and what they answer is what one call on the whole clip answers.

Places in time enter as a learned bias of the attention by distance, clamped: nothing depends on the absolute frame, and
frames further away than any in training (a sink under a long rollout) look as far away as the furthest.

Letters: B batch, F frames, H W height and width, N places (patches) of a frame, D width, Q frames of a call, K frames
attended to.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.interfaces import Space
from limbeck.networks.cache import Cache, held_positions
from limbeck_diffusion.networks.attention import attend
from limbeck_diffusion.networks.unet import TimeFeatures

Attention = Literal["full", "causal", "block_causal"]


# --- who sees whom ---------------------------------------------------------------------------------------------------


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

    x (B, F, N, D), tokens (B, M, D) -> (B, F, N, D)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.told = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        frames = x.shape[1]
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)  # (B, F, heads, N, d)
        told = self.told(tokens).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (2, B, heads, M, d)
        told_k, told_v = told[:, :, None].expand(-1, -1, frames, -1, -1, -1)
        mixed = attend(q, torch.cat([k, told_k], dim=-2), torch.cat([v, told_v], dim=-2))
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


class ClipTransformer(nn.Module):
    """Clips (B, F, C, H, W) at times (B,) or (B, F), for labels (B, M) -> (B, F, C, H, W).

    Patches overlap: they are read from and written to squares of patch + 2 (patch // 2) pixels, so that nothing is seen
    of their borders. `features` may ask for the outputs of blocks, 0 to depth - 1 (negative from the end), as
    (B, D, F, h, w).

    Args:
        space: `space.event` is (F, C, H, W), H and W divisible by patch. Clips of any number of frames are welcome.
        width: D, a multiple of heads.
        depth: blocks.
        patch: side of a patch in pixels.
        attention: over time; see the module.
        chunk: frames of a chunk, for `block_causal`.
        window, sink: with `causal` and `block_causal`, see only so many frames before the own chunk, and the first
            ones, in calls on whole clips; with a cache the cache decides.
        labels: M labels of so many classes, (classes, M); label `classes` means "none". None: no condition.
        reach: the furthest distance in frames that is told apart.
        two_times: accept a second time `s` (flow maps), the shape of the first.
    """

    def __init__(
        self,
        space: Space,
        *,
        width: int = 128,
        depth: int = 6,
        heads: int = 4,
        patch: int = 4,
        attention: Attention = "full",
        chunk: int = 4,
        window: int | None = None,
        sink: int = 0,
        labels: tuple[int, int] | None = (10, 2),
        reach: int = 11,
        two_times: bool = False,
    ):
        super().__init__()
        _, channels, height, side = space.event
        if height % patch or side % patch:
            raise ValueError(f"frames of {height} x {side} pixels cannot be cut into patches of {patch}: use a divisor")
        if width % heads:
            raise ValueError(f"width {width} cannot be split among {heads} heads: use a multiple of {heads}")
        self.patch, self.two_times, self.labels = patch, two_times, labels
        self.attention: Attention = attention
        self.chunk = chunk if attention == "block_causal" else 1
        self.window, self.sink = window, sink
        self.grid = height // patch, side // patch

        overlap = patch // 2
        fold = {"kernel_size": patch + 2 * overlap, "stride": patch, "padding": overlap}
        self.fold = nn.Conv2d(channels, width, **fold)
        self.unfold = nn.ConvTranspose2d(width, channels, **fold)
        self.place = nn.Parameter(0.02 * torch.randn(self.grid[0] * self.grid[1], width))

        self.time = TimeFeatures()
        times = 2 * len(self.time.frequencies)
        self.embed_time = nn.Sequential(nn.Linear(times, width), nn.SiLU(), nn.Linear(width, width))
        if two_times:  # starts without influence: the network of one time is a valid start for a flow map
            self.embed_step = nn.Sequential(nn.Linear(times, width), nn.SiLU(), nn.Linear(width, width))
            nn.init.zeros_(self.embed_step[2].weight)
            nn.init.zeros_(self.embed_step[2].bias)
        classes = labels[0] if labels is not None else 0
        self.table = nn.Embedding(classes + 1, width)
        self.modulation = nn.Linear(width, 9 * width)  # shared by all blocks (Chen et al. 2024, PixArt)
        self.blocks = nn.ModuleList(Block(width, heads, reach) for _ in range(depth))
        self.last = nn.Linear(width, 2 * width)
        for layer in (self.modulation, self.last, self.unfold):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    # --- cache ---

    @property
    def cache_ahead(self) -> bool:
        """Whether a call may write finished frames and begin the next chunk."""
        return self.attention != "full"

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Any:
        """An empty cache for one rollout."""
        if self.attention == "full":
            raise TypeError(
                "this network sees later frames (attention: full), so it cannot run chunk by chunk with a cache; build "
                "it with attention: block_causal, or causal"
            )
        return Cache(len(self.blocks), window=window, sink=sink, tag=tag)

    # --- the call ---

    def embed(self, time: Tensor, cond: Tensor | None, s: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of every frame (B, F or 1, D), already through SiLU; and the tokens of the condition (B, M, D)."""
        count = self.labels[1] if self.labels is not None else 1
        if cond is None:
            cond = torch.full((len(time), count), self.table.num_embeddings - 1, device=time.device)
        elif self.labels is None:
            raise ValueError("this network takes no conditions (labels: None); got some")
        elif cond.shape != (len(time), count):
            raise ValueError(f"conditions are {count} labels per clip, {(len(time), count)}; got {tuple(cond.shape)}")
        time = time.reshape(len(time), -1)  # (B, F or 1)
        tokens = self.table(cond)  # (B, M, D)
        out = self.embed_time(self._features(time)) + tokens.mean(dim=1, keepdim=True)
        if s is not None:
            out = out + self.embed_step(self._features(time - s.reshape(len(s), -1)))
        return functional.silu(out), tokens

    def _features(self, time: Tensor) -> Tensor:
        return self.time(time.reshape(-1)).unflatten(0, time.shape)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        cond: Tensor | None = None,
        s: Tensor | None = None,
        features: Sequence[int] = (),
        cache: Any = None,
        write: bool = False,
        ahead: int = 0,
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        """With a cache, x is a chunk that follows the frames written so far; `write` adds it to them, but for the last
        `ahead` frames: those are the next chunk, and see what the cache holds with the others added."""
        depth = len(self.blocks)
        if bad := [index for index in features if not -depth <= index < depth]:
            raise ValueError(f"features {bad} do not exist; ask for 0 to {depth - 1} (or -1, the last)")
        rows, frames = x.shape[:2]
        if time.ndim == 2 and time.shape[1] != frames:
            raise ValueError(f"times are (B,) or one per frame, {(rows, frames)}; got {tuple(time.shape)}")
        written = frames - ahead
        queries, keys, seen = self._timeline(frames, cache, x.device, ahead)
        embedding, tokens = self.embed(time, cond, s)
        shared = self.modulation(embedding).unflatten(-1, (9, -1))  # (B, F or 1, 9, D)

        hidden = self.fold(x.flatten(0, 1)).flatten(2).transpose(1, 2).unflatten(0, (rows, frames))  # (B, F, N, D)
        hidden = hidden + self.place.to(
            hidden.dtype
        )  # under autocast the stream itself is narrow: half the memory moved
        outputs = []
        for index, block in enumerate(self.blocks):
            a, b, c, d, e, f, g, h, i = (
                (shared + block.own.to(shared.dtype)).unsqueeze(-2).unbind(2)
            )  # (B, F or 1, 1, D) each
            hidden = torch.addcmul(hidden, c, block.space(modulate(hidden, a, b), tokens))
            held = cache.read(index) if cache is not None else None
            mixed, k, v = block.time(modulate(hidden, d, e), held, queries, keys, seen)
            if write:
                cache.write(index, k[:, :written], v[:, :written])
            hidden = torch.addcmul(hidden, f, mixed)
            wide = functional.relu(block.widen(modulate(hidden, g, h))).square()  # a third of GELU's time on a CPU
            hidden = torch.addcmul(hidden, i, block.narrow(wide))
            outputs.append(hidden)
        if write:
            cache.advance(written)
        shift, scale = self.last(embedding).unsqueeze(-2).chunk(2, dim=-1)
        maps = modulate(hidden, shift, scale).transpose(2, 3).unflatten(3, self.grid)  # (B, F, D, h, w)
        out = self.unfold(maps.flatten(0, 1)).unflatten(0, (rows, frames))
        if not features:
            return out
        return out, tuple(outputs[index].permute(0, 3, 1, 2).unflatten(3, self.grid) for index in features)

    def _timeline(
        self, frames: int, cache: Any, device: torch.device, ahead: int = 0
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Places in time of this call's frames (Q,) and of all frames attended to (K,); who sees whom (Q, K), or None
        where everybody sees everybody."""
        start = 0 if cache is None else cache.start
        queries = torch.arange(start, start + frames, device=device)
        held = () if cache is None else cache.positions
        keys = torch.cat([torch.tensor(held, dtype=torch.long, device=device), queries]) if held else queries
        if self.attention == "full" or (cache is not None and not ahead and start % self.chunk + frames <= self.chunk):
            return queries, keys, None
        # what the cache holds is there to be seen: its window and sink decide, not those of this network
        window, sink = (self.window, self.sink) if cache is None else (None, 0)
        seen = visible(queries, keys, self.chunk, window, sink)
        if ahead:  # two chunks in one call: the first does not see the second, which sees the cache as it will be
            written = len(queries) - ahead
            later = start + written
            stays = torch.tensor(held_positions(later, cache.window, cache.sink), dtype=torch.long, device=device)
            seen[:written] &= keys < later
            seen[written:] &= (keys >= later) | torch.isin(keys, stays)
        return queries, keys, seen


__all__ = ["ClipTransformer", "distance_bias", "first_preferences", "modulate", "visible"]
