"""A transformer of clips that is factorised over space and time: a frame attends within itself, then every place
attends over the frames, then a two-layer network; each at its own noise level.

Over time a frame sees all frames (`full`: a bidirectional teacher), those before it (`causal`) or those of its own and
of earlier chunks (`block_causal`). The last two run chunk by chunk with an explicit cache (`limbeck.networks.cache`),
and predict what one call on the whole clip predicts.

Places in time enter as a learned bias of the attention by distance, clamped: nothing depends on the absolute frame, and
frames further away than any in training (a sink under a long rollout) look as far away as the furthest.

Letters: B batch, F frames, H W height and width, N places (patches) of a frame, M tokens of the condition, D width, Q
frames of a call, K frames attended to.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck.interfaces import Space
from limbeck.networks.cache import Cache, held_positions
from limbeck_diffusion.networks.unet import TimeFeatures
from limbeck_video.networks.attention import Attention, Block, modulate, visible


class ClipTransformer(nn.Module):
    """Clips (B, F, C, H, W) at times (B,) or (B, F), for labels (B, M) -> (B, F, C, H, W).

    Patches overlap: they are read from and written to squares of patch + 2 (patch // 2) pixels, so that nothing is seen
    of their borders. `features` may name outputs of blocks, 0 to depth - 1 (negative from the end), as
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
        reach: the furthest distance in frames that has a bias of its own.
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
        side_read = patch + 2 * overlap
        self.fold = nn.Conv2d(channels, width, side_read, stride=patch, padding=overlap)
        self.unfold = nn.ConvTranspose2d(width, channels, side_read, stride=patch, padding=overlap)
        self.place = nn.Parameter(0.02 * torch.randn(self.grid[0] * self.grid[1], width))

        self.time = TimeFeatures()
        times = self.time(torch.zeros(1)).shape[-1]
        self.embed_time = nn.Sequential(nn.Linear(times, width), nn.SiLU(), nn.Linear(width, width))
        if two_times:  # starts without influence: the network of one time is a valid start for a flow map
            widen, last = nn.Linear(times, width), nn.Linear(width, width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.embed_step = nn.Sequential(widen, nn.SiLU(), last)
        classes = labels[0] if labels is not None else 0
        self.table = nn.Embedding(classes + 1, width)
        self.modulation = nn.Linear(width, 9 * width)  # shared by all blocks (Chen et al. 2024, PixArt)
        self.blocks = nn.ModuleList(Block(width, heads, reach) for _ in range(depth))
        self.last = nn.Linear(width, 2 * width)
        for layer in (self.modulation, self.last, self.unfold):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

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
        hidden = hidden + self.place.to(hidden.dtype)  # under autocast the stream is narrow: half the memory moved
        outputs = []
        for index, block in enumerate(cast("Iterable[Block]", self.blocks)):
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
        """Places in time of this call's frames (Q,) and of all frames attended to (K,); the mask (Q, K) of which
        frames see which, or None where all see all."""
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


__all__ = ["ClipTransformer"]
