"""Chunked rollouts: a causal generator makes a clip chunk by chunk, each from its own noise and a cache of what was.

`chunk_stream` yields finished chunks as they come and never ends without `frames`; `chunked_rollout` is the same loop
with gradients, for training. Chunk k draws its noise as `noise/{k}` and what it is noised with between calls as
`renoise/{k}/{i}`, so it depends on (seed, k) and on the chunks before, not on how many follow.

Letters: B batch, F frames of a clip, f of a chunk.
"""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.interfaces import Prediction, Sample, unwrap
from limbeck.networks.cache import Cache
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Grad, Plan, exit_of, walk


def chunk_stream(
    generator: nn.Module,
    cond: Any = None,
    *,
    plan: Plan,
    rng: Rng,
    frames: int | None = None,
    chunk: int | None = None,
    batch_size: int | None = None,
    noise: Tensor | None = None,
    cache: Cache | None = None,
    window: int | None = None,
    sink: int = 0,
    context_time: float = 0.0,
    grad: Grad = "none",
    tail: int | None = None,
) -> Iterator[Tensor]:
    """Finished chunks (B, f, ...) one by one; Huang et al. 2025 (Self-Forcing), Alg. 1.

    A chunk runs the plan on its own noise, reading the cache; when the next one is requested, it is written into the
    cache, clean (or at `context_time`), without gradient: by a call of its own, or by the next chunk's first call where
    the generator can (`cache_ahead`) and no gradient is wanted of that call. Nothing is computed ahead, and a consumer
    may stop at any time: what is left is the cache, and that is gone with the generator object.

    Args:
        generator: a predictor with a cache, possibly wrapped for DDP.
        cond: conditions of B rows, or None (then pass batch_size or noise); the same for every chunk.
        frames: of the whole clip, a multiple of chunk; None: without end.
        chunk: frames at a time; None: the generator's own.
        noise: x at t_max of the first frames, (B, n, ...); what lies beyond is drawn.
        cache: one to go on with, written up to the last chunk; None: a new one with this window and sink.
        window, sink: which finished frames are seen: the last `window` (None: all) and the first `sink` ones.
        context_time: the noise level at which finished chunks are written, t in [0, t_max). Draws `context/{k}`.
        grad: `last` carries gradient through the last call of a chunk; none ever crosses chunks.
        tail: with gradients, only chunks that start in the last `tail` frames carry them; None: all. Needs `frames`.
    """
    spec: Any = unwrap(generator)
    if not hasattr(spec, "new_cache") or not isinstance(getattr(spec, "process", None), GaussianProcess):
        raise TypeError(f"a chunked rollout calls a Predictor on a Gaussian process; got {type(spec).__name__}")
    process, size = spec.process, chunk_size(spec, frames, chunk)
    if tail is not None and (frames is None or tail < size):
        raise ValueError(
            f"tail={tail} counts frames from the end, so it needs frames, how many there are"
            if frames is None
            else f"tail={tail} is less than a chunk of {size} frames: nothing would learn"
        )
    first = 0 if frames is None or tail is None else frames - tail
    held = spec.new_cache(window, sink) if cache is None else cache
    if held.start % size:
        raise ValueError(f"the cache holds {held.start} frames, which is no whole number of chunks of {size}")
    rows = conditions.count(cond, batch_size, noise)
    last = exit_of(plan, rng)

    write = partial(write_chunk, generator, cond=cond, cache=held, context_time=context_time, rng=rng)

    def finished() -> Iterator[Tensor]:  # holds no gradient mode over a yield: it would leak into the consumer
        behind: partial[Any] | None = None  # writes the chunk before; done by the first call that reads the cache

        def call(x: Tensor, t: Tensor, **more: Any) -> Any:
            nonlocal behind
            pending, behind = behind, None
            if pending is not None:
                together = getattr(spec, "cache_ahead", False) and not more  # a flow map's s has no frames of its own
                if together and not torch.is_grad_enabled():
                    return pending(ahead=(x, t))
                pending()
            return generator(x, t, cond, cache=held, **more)

        for k, start in zip(count(held.start // size), count(0, size), strict=False):
            x = _noise_of(process, (rows, size, *spec.space.event[1:]), rng, noise, start, f"noise/{k}")
            learns = grad if start >= first else "none"
            x0_hat = walk(call, process, x, plan, last=last, grad=learns, eps=partial(_renoise, rng, k))
            yield x0_hat
            behind = partial(write, x0_hat, purpose=f"context/{k}")
            if frames is not None and start + size >= frames:
                if cache is not None:  # one that nobody reads again is not written
                    behind()
                return

    return finished()


@torch.no_grad()
def write_chunk(
    generator: nn.Module,
    x0: Tensor,
    cond: Any,
    cache: Cache,
    *,
    context_time: float = 0.0,
    rng: Rng | None = None,
    purpose: str = "context",
    ahead: tuple[Tensor, Tensor] | None = None,
) -> Prediction:
    """Put a finished chunk (B, f, ...) into the cache, by one call at t = `context_time` on the clean frames noised to
    that level (draw: `purpose`). No gradient.

    Args:
        ahead: states of the next chunk (B, n, ...) and their times (B,), for the same call. Needs `cache_ahead`.

    Returns:
        The network's prediction of that next chunk, or of the finished one where there is none.
    """
    spec: Any = unwrap(generator)
    process: GaussianProcess = spec.process
    x0 = x0.detach()
    t = torch.full(x0.shape[:1], context_time, device=x0.device, dtype=torch.promote_types(x0.dtype, torch.float32))
    if context_time:
        assert rng is not None
        x0 = process.add_noise(x0, rng.normal(purpose, x0.shape, x0.dtype), t)
    before, frames = cache.start, x0.shape[1]
    if ahead is None:
        prediction = generator(x0, t, cond, cache=cache, write=True)
    else:
        xt, time = ahead
        both = torch.cat([x0, xt], 1)
        times = torch.cat([t[:, None].expand(-1, frames), time[:, None].expand(-1, xt.shape[1])], 1)
        whole = generator(both, times, cond, cache=cache, write=True, ahead=xt.shape[1])
        prediction = Prediction(x0_hat=whole.x0_hat[:, frames:])
    if cache.start != before + frames:
        raise RuntimeError(
            f"a call with write=True took the cache from frame {before} to {cache.start}; expected "
            f"{before + frames}. The network writes every layer and then calls cache.advance(frames)"
        )
    return prediction


def chunked_rollout(
    generator: nn.Module,
    cond: Any = None,
    *,
    plan: Plan,
    rng: Rng,
    frames: int | None = None,
    grad: Grad = "last",
    **options: Any,
) -> Sample:
    """A whole clip chunk by chunk, (B, F, ...), for training: `chunk_stream` (its options apply) to its end.

    The exit of the plan is shared by all chunks. Gradient flows through the last call of each chunk that starts in the
    last `tail` frames, and through nothing else: the memory of a training step grows with `tail`, not with `frames`.

    Args:
        frames: None: those of the generator's space.
    """
    spec: Any = unwrap(generator)
    frames = spec.space.event[0] if frames is None else frames
    chunks = list(chunk_stream(generator, cond, plan=plan, rng=rng, frames=frames, grad=grad, **options))
    value = torch.cat(chunks, 1)
    last = exit_of(plan, rng)
    return Sample(value=value, at=value, t_from=plan.times[last], t_to=0.0, evaluations=last + 2)


def chunk_size(spec: Any, frames: int | None, chunk: int | None) -> int:
    """Frames at a time: `chunk`, or the generator's own; refused where it does not divide `frames`."""
    size = spec.chunk if chunk is None else chunk
    if frames is not None and (frames < size or frames % size):
        raise ValueError(
            f"{frames} frames are no whole number of chunks of {size}. Choose frames as a multiple of {size}, or a "
            "chunk that divides them"
        )
    return size


def _noise_of(
    process: GaussianProcess, shape: tuple[int, ...], rng: Rng, noise: Tensor | None, start: int, purpose: str
) -> Tensor:
    if noise is None or start >= noise.shape[1]:
        return process.prior_sample(shape, rng, purpose)
    given = noise[:, start : start + shape[1]]
    if given.shape[1] < shape[1]:
        raise ValueError(f"the given noise ends within a chunk: {noise.shape[1]} frames, chunks of {shape[1]}")
    return given


def _renoise(rng: Rng, k: int, i: int, like: Tensor) -> Tensor:
    return rng.normal(f"renoise/{k}/{i}", like.shape, like.dtype)


__all__ = ["chunk_size", "chunk_stream", "chunked_rollout", "write_chunk"]
