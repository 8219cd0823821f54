"""Diffusion forcing: denoising with a level of noise for every frame, so that a network learns all of a clip's pasts,
from clean to pure noise. Trains causal networks, from scratch or from a bidirectional teacher's weights."""

from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import Generator, Teacher
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size
from limbeck_diffusion.formulas.times import clean_before, draw_time, level_count, to_frames
from limbeck_diffusion.formulas.weights import error_weight
from limbeck_diffusion.objectives.pretraining.denoising import Denoising
from limbeck_diffusion.options.pretraining import DiffusionForcingOptions


class DiffusionForcing(Denoising):
    """mean over frames of w(t_f) || x0_hat_f - x0_f ||^2 with independent t_f, Chen et al. 2024.

    Clean frames (`clean_context`) are context and teach nothing. Draws: t, eps, dropout; clean, first.
    """

    name = "diffusion_forcing"
    Options = DiffusionForcingOptions
    options: DiffusionForcingOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        super().setup(generator, teacher, **named)
        spec: Any = self.bare("generator")
        o, frames = self.options, spec.space.event[0]
        self.size = chunk_size(spec, frames, o.chunk) if o.levels == "chunk" or o.clean_context else 1

    def sampling(self) -> dict[str, Any]:
        return {"use": "diffusion_forcing", "steps": 18}

    def times(self, x0: Tensor, rng: Rng) -> Tensor:
        """(B, F); (B,) with a level per clip and no clean context."""
        o, (rows, frames) = self.options, x0.shape[:2]
        count = level_count(x0, o.levels, self.size)
        t = to_frames(draw_time(self.process, rng, count, o.times.kind, o.times.mean, o.times.std, o.times.range), x0)
        if not o.clean_context:
            return t
        first = self.size * rng.integers("first", frames // self.size, (rows,))
        first = torch.where(rng.uniform("clean", (rows,)) < o.clean_context, first, 0)
        return clean_before(t if t.ndim == 2 else t[:, None].expand(-1, frames), first)

    def weight(self, t: Tensor) -> Tensor:
        clean = t == 0
        w = error_weight(
            self.process, torch.where(clean, self.process.t_max, t), self.options.error, self.options.sigma_data
        )
        return torch.where(clean, 0.0, w)


__all__ = ["DiffusionForcing"]
