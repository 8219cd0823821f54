"""Pairs of noise and teacher sample: how they are made."""

import torch

from limbeck import conditions
from limbeck.interfaces import Batch, Data, Sampler, Teacher
from limbeck.progress import Progress
from limbeck.randomness import Rng


@torch.no_grad()
def make_pairs(
    teacher: Teacher,
    sampler: Sampler,
    count: int,
    *,
    steps: int,
    data: Data | None = None,
    seed: int = 0,
    chunk: int = 256,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Batch:
    """`count` pairs of noise at t_max and the teacher's sample from it, with the condition of each (drawn from `data`).

    The i-th pair is a function of (seed, i, chunk), not of count. Returns x0, noise (count, *event) and cond.
    """
    made: list[Batch] = []
    for k in range(-(-count // chunk)):
        rng = Rng(seed, k, "pairs", device=device)
        noise = teacher.process.prior_sample((chunk, *teacher.space.event), rng)
        cond = None if data is None else conditions.to(data.conditions(chunk, rng), noise.device)
        x0 = sampler(teacher, cond, steps=steps, rng=rng, noise=noise).value
        made.append(Batch(x0=x0, noise=noise, cond=cond))
        if progress is not None:
            progress(min((k + 1) * chunk, count), count)
    first = slice(count)
    return Batch(
        x0=torch.cat([b.x0 for b in made if b.x0 is not None])[first],
        noise=torch.cat([b.noise for b in made if b.noise is not None])[first],
        cond=conditions.rows(conditions.cat(*(b.cond for b in made)), first),
    )


__all__ = ["make_pairs"]
