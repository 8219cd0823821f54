r"""Samplers of clips in time: chunk by chunk behind a cache, or all frames at once with levels that fall one after the
other.

Letters: B batch, F frames, S steps, K chunks.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Predictor, Sample, Sampler, Teacher, unwrap
from limbeck.process.gaussian import GaussianProcess, align
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size, chunk_stream, chunked_rollout
from limbeck.sampling.rollouts import Plan
from limbeck_diffusion.options.samplers import DiffusionForcingSamplerOptions, StreamingOptions


def chunk_plan(options: Any, process: GaussianProcess, steps: int, **plan: Any) -> Plan:
    """The calls of one chunk that options (`times`, `shift`) describe."""
    if options.times is not None:
        if len(options.times) != steps:
            raise ValueError(f"sampling.times gives {len(options.times)} calls, but steps is {steps}; make them agree")
        if options.times[0] > process.t_max:
            raise ValueError(f"times starts at {options.times[0]:g}, above t_max={process.t_max:g} of {process}")
        return Plan(tuple(options.times), **plan)
    if options.shift is not None:
        process = process.with_shift(options.shift)
    return Plan.uniform(process, steps, **plan)


class Streaming(Sampler):
    """A causal generator chunk by chunk, each in `steps` calls behind a cache of the chunks before; as
    `self_forcing` trains it. Needs a generator with the ability `cache`.

    `stream` yields chunks as they are finished, without end if `frames` is None; a call gives whole samples,
    `frames` long, which may be longer than the generator's space. Draws: noise (or given), then noise/k, renoise/k/i,
    context/k.
    """

    Options = StreamingOptions

    def __init__(self, **options: Any):
        self.options = self.Options(**options)

    def _how(self, predictor: Any, steps: int) -> dict[str, Any]:
        o, process = self.options, predictor.process
        return {
            "plan": chunk_plan(o, process, steps, transition=o.transition),
            "chunk": o.chunk,
            "window": o.window,
            "sink": o.sink,
            "context_time": o.context_time * process.t_max,
        }

    def stream(
        self,
        predictor: Predictor,
        cond: Any = None,
        *,
        steps: int,
        rng: Rng,
        frames: int | None = None,
        batch_size: int | None = None,
        noise: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Chunks (B, f, ...) as they come, without gradients; `frames` of them in all, or no end (None). Stop whenever
        you like: nothing is computed ahead, and nothing stays behind."""
        how = self._how(unwrap(predictor), steps)
        return chunk_stream(predictor, cond, rng=rng, frames=frames, batch_size=batch_size, noise=noise, **how)

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        how = self._how(unwrap(predictor), steps)
        return chunked_rollout(predictor, cond, rng=rng, frames=self.options.frames, noise=x, grad="none", **how)

    def evaluations(self, steps: int) -> int:
        """Passes of each frame through the network: `steps`, and one to cache it."""
        return steps + 1


def schedule(steps: int, chunks: int, uncertainty: float) -> Tensor:
    """Levels of every chunk after every step, Chen et al. 2024 (Diffusion Forcing), Sec. 4.3.

    M[m, k] = clip(S + floor(u k) - m, 0, S): all S at first, all 0 in the end; u = 0 is the whole sequence at once,
    u = 1 a pyramid, u = S one chunk after the other.

    Returns:
        (S + floor(u (K - 1)) + 1, K), int64.
    """
    lag = (uncertainty * torch.arange(chunks, dtype=torch.float64)).floor().long()
    rows = torch.arange(steps + int(lag[-1]) + 1)
    return (steps + lag[None] - rows[:, None]).clamp(0, steps)


class DiffusionForcingSampler(Sampler):
    """All frames in every call, each chunk at a level of its own that falls from noise to data in `steps` steps, later
    chunks later. Deterministic steps (DDIM). Needs a generator with the ability `frame_time`; with uncertainty 0 it is
    `ddim` on any. Draws: noise, context/m (with `context_time`).
    """

    Options = DiffusionForcingSamplerOptions
    _chunks = 1  # of the last sample: how many calls it takes depends on them

    def __init__(self, **options: Any):
        self.options = self.Options(**options)

    def _lag(self, steps: int) -> float:
        u = self.options.uncertainty
        return float(steps) if isinstance(u, str) else u

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        spec: Any = unwrap(predictor)
        process: GaussianProcess = spec.process
        size = chunk_size(spec, x.shape[1], self.options.chunk)
        self._chunks = x.shape[1] // size
        levels = schedule(steps, self._chunks, self._lag(steps)).repeat_interleave(size, 1)  # (rows, F)
        grid = time_grid(process, steps, process.spacing).flip(0)  # level -> time
        shown = torch.promote_types(x.dtype, torch.float32)
        for m in range(len(levels) - 1):
            t, s = (grid[levels[row]].to(x.device).expand(len(x), -1) for row in (m, m + 1))
            seen, time = self._stabilised(process, x, t, rng, m)
            x0_hat = predictor(seen, time.to(shown), cond).x0_hat
            moves = align(s < t, x)
            x = torch.where(moves, process.ddim(x, torch.where(s < t, t, process.t_max), s, x0_hat), x)
        return Sample(value=x, at=x, t_from=float(grid[1]), t_to=0.0, evaluations=len(levels) - 1)

    def _stabilised(self, process: GaussianProcess, x: Tensor, t: Tensor, rng: Rng, m: int) -> tuple[Tensor, Tensor]:
        """What the network is shown: finished frames noised a little, and their times."""
        context = self.options.context_time * process.t_max
        if not context:
            return x, t
        time = torch.where(t == 0, context, t)
        noisy = process.add_noise(x, rng.normal(f"context/{m}", x.shape, x.dtype), time)
        return torch.where(align(t == 0, x), noisy, x), time

    def evaluations(self, steps: int) -> int:
        """Calls on the whole clip: those of the clips sampled last."""
        return steps + int(self._lag(steps) * (self._chunks - 1))
