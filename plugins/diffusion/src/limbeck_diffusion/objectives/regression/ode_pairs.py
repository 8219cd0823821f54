"""Regression on stored pairs of noise and teacher sample, and how to make the pairs."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from limbeck import conditions
from limbeck.interfaces import (
    Batch,
    Data,
    Generator,
    Loss,
    Objective,
    Phase,
    Predictor,
    Sampler,
    Teacher,
    average,
    unwrap,
)
from limbeck.manifest import Needs
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.distances import distance, l2
from limbeck_diffusion.options.base import ODEPairsOptions

Progress = Callable[[int, int], None]


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
    """`count` pairs of noise at t_max and the teacher's sample from it, with the condition of each (from `data`'s law).

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


@contextmanager
def progress_bar(title: str) -> Iterator[Progress | None]:
    """A bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class ODEPairs(Objective):
    """dist(x0_hat(noise, t_max), sample) on stored pairs, Luhman & Luhman 2021. Nothing random is drawn."""

    Options = ODEPairsOptions
    options: ODEPairsOptions
    needs = Needs(generator={"gaussian", "denoiser", "sampling"}, teacher={"gaussian", "denoiser"})
    default_source = "pairs"

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        spec = unwrap(generator)
        assert isinstance(spec, Predictor)
        self.process: GaussianProcess = spec.process
        if teacher is not None and teacher.process.prior_std != self.process.prior_std:
            raise ValueError(
                f"ode_pairs feeds the teacher's noise to the generator, but the teacher's has standard deviation "
                f"{teacher.process.prior_std:g} and the generator's {self.process.prior_std:g}. Use the same process."
            )
        self.distance = distance(self.options.distance, self.options.huber_c)
        self.add_role("generator", generator)

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        if batch.noise is None or batch.x0 is None:
            raise ValueError(
                "ode_pairs regresses samples on the noise they came from, but the source yields none: use pairs"
            )
        t = torch.full((len(batch.noise),), self.process.t_max, device=batch.noise.device)
        x0_hat = self.network("generator", phase)(batch.noise, t, batch.cond).x0_hat
        return Loss(
            average(self.distance(x0_hat, batch.x0), batch.weight),
            {"residual": average(l2(x0_hat.detach(), batch.x0), batch.weight)},
        )
