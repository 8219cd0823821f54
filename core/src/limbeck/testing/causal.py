r"""Clips: a Gaussian sequence whose every quantity has a closed form, and causal generators to be checked by hand.

- `AR1`: the sequence x_f - m = correlation (x_{f-1} - m) + noise of every element of a frame, as a bidirectional or a
  causal predictor, at any levels of noise, one per frame, with or without a cache;
- `CausalToy`: a linear generator whose one-step distribution is exactly such a sequence at the right three numbers;
- `CausalNetwork`: a small causal attention network, to be wrapped in a `Denoiser`.

Letters: B batch, F frames, f frames of a chunk, D elements of one frame, n frames that are known of. Tensors (B, F, *).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.networks.cache import Cache, context_mask
from limbeck.process.gaussian import GaussianProcess


def ar1_covariance(positions: Tensor, correlation: float | Tensor, std: float | Tensor = 1.0) -> Tensor:
    """std^2 correlation^|i - j| of a stationary AR(1) sequence at `positions` (n,); (n, n), float64 or better."""
    apart = (positions[:, None] - positions[None]).abs()
    correlation = torch.as_tensor(correlation, dtype=torch.float64, device=positions.device)
    return torch.as_tensor(std, dtype=torch.float64, device=positions.device).square() * correlation**apart


class AR1(Predictor):
    r"""Clips whose elements are independent stationary AR(1) sequences, Sigma_ij = std^2 correlation^|i-j|.

    x0_hat is the posterior mean, for one time per frame: m + Sigma A (A Sigma A + S)^{-1} (x - A m), with A, S the
    diagonals of alpha_f and sigma_f^2 over all frames that are seen. A bidirectional one (`causal=False`) sees the
    whole clip; a causal one its own chunk, the chunks before, and what the cache holds, at the levels of writing.

    Learnable: `mean`, `correlation`, `std`, (1,) each, float64.
    """

    process: GaussianProcess

    def __init__(
        self,
        process: GaussianProcess,
        event: Sequence[int],
        *,
        correlation: float,
        std: float = 1.0,
        mean: float = 0.0,
        causal: bool = False,
        chunk: int = 1,
        domain: str = "vector",
    ):
        super().__init__()
        self.process, self.space = process, Space(tuple(event), domain)
        self.causal, self._chunk = causal, chunk
        self.mean, self.correlation, self.std = (_number(v) for v in (mean, correlation, std))

    @property
    def chunk(self) -> int:
        return self._chunk

    def covariance(self, frames: int) -> Tensor:
        """Sigma of one element over `frames` frames, (F, F)."""
        return ar1_covariance(torch.arange(frames), self.correlation, self.std)

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Cache:
        if not self.causal:
            return super().new_cache(window, sink, tag)
        return Cache(1, window=window, sink=sink, tag=tag)

    def _posterior(self, x: Tensor, t: Tensor, positions: Tensor, wanted: int) -> Tensor:
        """E[x0 | x] of the last `wanted` of n frames: x (B, n, D), t (B, n), positions (n,); (B, wanted, D)."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        c = self.process.coefficients(t.to(dtype))
        mean = self.mean.to(dtype)
        sigma = ar1_covariance(positions, self.correlation, self.std).to(dtype)
        seen = c.alpha_t[:, :, None] * sigma * c.alpha_t[:, None, :] + torch.diag_embed(c.sigma_t.square())
        solved = torch.linalg.solve(seen, x.to(dtype) - c.alpha_t[..., None] * mean)
        return mean + sigma[-wanted:] @ (c.alpha_t[..., None] * solved)

    def forward(
        self,
        xt: Tensor,
        t: Tensor,
        cond: Any = None,
        *,
        s: Tensor | None = None,
        features: Sequence[int] = (),
        cache: Cache | None = None,
        write: bool = False,
    ) -> Prediction:
        frames = xt.shape[1]
        x, times = _rows(xt), per_frame(t, frames)
        if cache is not None:
            x0_hat = self._behind(cache, x, times)
            if write:
                cache.write(0, x, times)
                cache.advance(frames)
        else:
            size = self._chunk if self.causal else frames
            ends = range(size, frames + size, size)
            where = torch.arange(frames, device=x.device)
            x0_hat = torch.cat(
                [self._posterior(x[:, :e], times[:, :e], where[:e], x[:, e - size : e].shape[1]) for e in ends], 1
            )
        x0_hat = x0_hat.to(xt.dtype).reshape(xt.shape)
        xs = self.process.ddim(xt, t, s, x0_hat) if s is not None else None
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(x0_hat.flatten(1) for _ in features))

    def _behind(self, cache: Cache, x: Tensor, times: Tensor) -> Tensor:
        """The posterior of a chunk behind the frames that the cache holds, at the levels they were written at."""
        frames, held = x.shape[1], cache.read(0)
        where = torch.tensor([*cache.positions, *range(cache.start, cache.start + frames)], device=x.device)
        if held is None:
            return self._posterior(x, times, where, frames)
        return self._posterior(torch.cat([held[0], x], 1), torch.cat([held[1], times], 1), where, frames)


class CausalToy(Predictor):
    r"""x0_hat = gain x_t / prior_std + carry mean(clean frames in the context); first x_t / prior_std where there is no
    context. Linear, whatever the time.

    Rolled out in one step with chunk 1 and window 1, its distribution is a Gaussian AR(1) sequence, and that of
    `AR1(correlation, std)` at first = std, carry = correlation, gain = std sqrt(1 - correlation^2).

    Learnable: `first`, `gain`, `carry`, (1,) each, float64. A call on a whole clip sees the frames that a cache with
    this window would hold; one with `ahead=` makes the two calls that it stands for.
    """

    process: GaussianProcess

    def __init__(
        self,
        process: GaussianProcess,
        event: Sequence[int],
        *,
        first: float = 1.0,
        gain: float = 1.0,
        carry: float = 0.0,
        chunk: int = 1,
        window: int | None = None,
        domain: str = "vector",
    ):
        super().__init__()
        self.process, self.space = process, Space(tuple(event), domain)
        self._chunk, self.window = chunk, window
        self.first, self.gain, self.carry = (_number(v) for v in (first, gain, carry))

    @property
    def chunk(self) -> int:
        return self._chunk

    @property
    def cache_ahead(self) -> bool:
        return True

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Cache:
        return Cache(1, window=self.window if window is None else window, sink=sink, tag=tag)

    def forward(
        self,
        xt: Tensor,
        t: Tensor,
        cond: Any = None,
        *,
        s: Tensor | None = None,
        features: Sequence[int] = (),
        cache: Cache | None = None,
        write: bool = False,
        ahead: int = 0,
    ) -> Prediction:
        if ahead:
            written = self.forward(xt[:, :-ahead], t, cache=cache, write=True).x0_hat
            begun = self.forward(xt[:, -ahead:], t, cache=cache).x0_hat
            assert written is not None and begun is not None
            return Prediction(x0_hat=torch.cat([written, begun], 1))
        x, frames = _rows(xt), xt.shape[1]
        first, gain, carry = self.first.to(x), self.gain.to(x), self.carry.to(x)
        z = x / self.process.prior_std
        if cache is None:
            own = context_mask(frames, self._chunk, window=0).to(x)
            before = context_mask(frames, self._chunk, window=self.window).to(x) - own
            seen = before.sum(1)[:, None]
            x0_hat = torch.where(seen > 0, gain * z + carry * (before @ x) / seen.clamp_min(1), first * z)
        else:
            held = cache.read(0)
            x0_hat = first * z if held is None else gain * z + carry * held[0].mean(1, keepdim=True)
            if write:
                cache.write(0, x, x)
                cache.advance(frames)
        x0_hat = x0_hat.reshape(xt.shape)
        xs = self.process.ddim(xt, t, s, x0_hat) if s is not None else None
        return Prediction(x0_hat=x0_hat, xs=xs, features=tuple(x0_hat.flatten(1) for _ in features))


class CausalNetwork(nn.Module):
    """Attention over frames, (B, F, ...) in and out; wrap it: `Denoiser(CausalNetwork((6, 2)), process, space)`.

    A frame is one token; it sees its own chunk and everything before (`chunk=None`: the whole clip, a bidirectional
    network without a cache). Positions are relative (rotary), so that clips may be longer than those trained on.

    Args:
        event: shape of one clip, frames first.
        classes: number of classes; 0 takes no condition; class `classes` is the null condition.
        chunk: frames that see each other in a call on a whole clip.
    """

    def __init__(
        self,
        event: Sequence[int],
        *,
        width: int = 32,
        depth: int = 2,
        heads: int = 2,
        classes: int = 0,
        chunk: int | None = 1,
        window: int | None = None,
    ):
        super().__init__()
        size = math.prod(event[1:])
        self.blocks, self.window, self.heads = chunk, window, heads
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        self.enter = nn.Linear(size + 8, width)
        self.attend = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(depth))
        self.merge = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width, size)

    @property
    def chunk(self) -> int:
        return self.blocks or 1

    def new_cache(self, window: int | None = None, sink: int = 0, tag: str = "cond") -> Cache:
        if self.blocks is None:
            raise TypeError("a bidirectional CausalNetwork (chunk=None) carries no cache; build it with a chunk")
        return Cache(len(self.attend), window=self.window if window is None else window, sink=sink, tag=tag)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        cond: Any = None,
        *,
        features: Sequence[int] = (),
        cache: Cache | None = None,
        write: bool = False,
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        frames = x.shape[1]
        start = 0 if cache is None else cache.start
        phase = per_frame(time, frames).to(x.dtype)[..., None] * _octaves(4, x) * 0.5 * math.pi
        h = self.enter(torch.cat([_rows(x), phase.cos(), phase.sin()], 2))  # (B, f, width)
        if self.labels is not None and cond is not None:
            h = h + self.labels(cond)[:, None]
        mask = None
        if cache is None and self.blocks is not None:
            mask = context_mask(frames, self.blocks, window=self.window).to(x.device)
        where = torch.arange(start, start + frames, device=x.device)
        hidden = []
        for layer, (attend, merge) in enumerate(zip(self.attend, self.merge, strict=True)):
            q, k, v = (y.unflatten(2, (self.heads, -1)) for y in attend(h).chunk(3, 2))  # (B, f, heads, width / heads)
            q, k = _rotated(q, where), _rotated(k, where)
            held = None if cache is None else cache.read(layer)
            if cache is not None and write:
                cache.write(layer, k, v)
            if held is not None:
                k, v = torch.cat([held[0], k], 1), torch.cat([held[1], v], 1)
            seen = nn.functional.scaled_dot_product_attention(
                q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
            )
            h = h + merge(nn.functional.silu(seen.transpose(1, 2).flatten(2)))
            hidden.append(h.transpose(1, 2))  # (B, width, f)
        if cache is not None and write:
            cache.advance(frames)
        out = self.leave(h).reshape(x.shape)
        return (out, tuple(hidden[k] for k in features)) if features else out


def per_frame(t: Tensor, frames: int) -> Tensor:
    """(B,) or (B, F) as (B, F)."""
    return t if t.ndim == 2 else t[:, None].expand(-1, frames)


def _rows(x: Tensor) -> Tensor:
    """(B, F, *) as (B, F, D)."""
    return x.reshape(*x.shape[:2], -1)


def _number(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor([float(value)], dtype=torch.float64))


def _octaves(count: int, like: Tensor) -> Tensor:
    return 2.0 ** torch.arange(count, dtype=like.dtype, device=like.device)


def _rotated(x: Tensor, where: Tensor) -> Tensor:
    """Rotary positions: pairs of elements of x (B, f, heads, E), E even, turned by where (f,) over powers of 4."""
    half = x.shape[-1] // 2
    angle = where.to(x.dtype)[:, None, None] / 4.0 ** torch.arange(half, dtype=x.dtype, device=x.device)
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


__all__ = ["AR1", "CausalNetwork", "CausalToy", "ar1_covariance", "per_frame"]
