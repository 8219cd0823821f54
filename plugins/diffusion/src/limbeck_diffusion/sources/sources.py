"""Where batches come from. Every source is a pure function of the `Rng` it is given: which rows the global batch of a
step holds does not depend on the number of processes, on accumulation, or on earlier calls.

A factory takes the partners `data`, `teacher`, `generator`, `objective` (each may be None) beside its options.
"""

from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Batch, Data, Generator, Objective, Predictor, Source, Teacher, unwrap
from limbeck.options import Options
from limbeck.process.gaussian import GaussianProcess
from limbeck.progress import progress_bar
from limbeck.randomness import Rng, derive_seed
from limbeck.sampling.rollouts import Plan, rollout
from limbeck_diffusion.options.sources import (
    DataSourceOptions,
    PairsSourceOptions,
    PriorSourceOptions,
    StudentSourceOptions,
    TrajectorySourceOptions,
)
from limbeck_diffusion.sources.pairs import make_pairs


@lru_cache(maxsize=16)
def _permutation(count: int, seed: int, epoch: int, phase: str, repeat: int) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(derive_seed(seed, epoch, phase, repeat, "epoch"))
    return torch.randperm(count, generator=generator)


def rows_at(
    position: int, size: int, count: int, *, seed: int, phase: str, repeat: int, shuffle: bool = True
) -> Tensor:
    """Rows `position ... position + size` of an endless stream of epochs over `count` rows, (size,), int64.

    Every epoch is a permutation of its own, a function of (seed, epoch, phase, repeat): each turn of a step has its own
    stream, and every stream sees every row once per epoch.
    """
    if count < 1:
        raise ValueError("the data is empty: it has no rows to draw from")
    rows: list[Tensor] = []
    while size > 0:
        epoch, offset = divmod(position, count)
        order = _permutation(count, seed, epoch, phase, repeat) if shuffle else torch.arange(count)
        rows.append(order[offset : offset + size])
        position, size = position + len(rows[-1]), size - len(rows[-1])
    return torch.cat(rows)


def rows_of(rng: Rng, size: int, count: int, shuffle: bool = True) -> Tensor:
    """The rows that this part of the global batch holds at this step, (size,), int64."""
    position = rng.step * size * rng.parts + rng.part * size
    return rows_at(position, size, count, seed=rng.seed, phase=rng.phase, repeat=rng.repeat, shuffle=shuffle)


class PartneredSource(Source):
    """A source with its options and partners."""

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]  # one of them is enough
    Options: ClassVar[type[Options]]

    def __init__(
        self,
        *,
        data: Data | None = None,
        teacher: Teacher | None = None,
        generator: Generator | None = None,
        objective: Objective | None = None,
        **options: Any,
    ):
        self.options: Any = self.Options(**options)
        self.data, self.teacher, self.generator, self.objective = data, teacher, generator, objective
        if all(getattr(self, partner) is None for partner in self.requires):
            needed = self.requires[0]
            raise ValueError(f"source {self.name!r} needs {needed}, and the recipe gives none: add a `{needed}:` block")

    def conditions(self, size: int, rng: Rng) -> Any:
        """Conditions drawn from the data on the device of the draws; None without data."""
        cond = None if self.data is None else self.data.conditions(size, rng)
        return conditions.to(cond, rng.device)


class DataSource(PartneredSource):
    """Real examples, epoch by epoch."""

    name, requires = "data", ("data",)
    Options = DataSourceOptions

    def batch(self, size: int, rng: Rng) -> Batch:
        data: Any = self.data
        return data.batch(rows_of(rng, size, len(data), self.options.shuffle)).to(rng.device)


class PriorSource(PartneredSource):
    """Prior noise and conditions of the data; no real sample is looked at. Draws: conditions, noise."""

    name, requires = "prior", ("teacher", "generator")
    Options = PriorSourceOptions

    def batch(self, size: int, rng: Rng) -> Batch:
        network: Any = self.generator if self.teacher is None else self.teacher
        spec = unwrap(network)
        # "noise" is also the name under which a rollout would draw it: giving it here changes no number
        noise = spec.process.prior_sample((size, *spec.space.event), rng)
        return Batch(noise=noise, cond=self.conditions(size, rng))


class TrajectorySource(PartneredSource):
    """States of teacher trajectories: every row walks from noise and stops at a random one of the sampler's nodes.

    Fills xt, t, noise, cond. Costs the teacher's walk up to the latest node drawn. Draws: conditions, noise, node.
    """

    name, requires = "trajectory", ("teacher",)
    Options = TrajectorySourceOptions

    def __init__(self, **partners_and_options: Any):
        super().__init__(**partners_and_options)
        self.sampler = _states_sampler(self.options.sampler)

    def batch(self, size: int, rng: Rng) -> Batch:
        teacher: Any = self.teacher
        process: GaussianProcess = teacher.process
        noise = process.prior_sample((size, *teacher.space.event), rng)
        cond = self.conditions(size, rng)
        node = rng.integers("node", self.options.steps, (size,))
        xt, t = noise, torch.full((size,), process.t_max, device=noise.device)
        walk = self.sampler.states(teacher, cond, steps=self.options.steps, rng=rng, noise=noise)
        for k in range(int(node.max()) + 1):
            x, time = next(walk)
            here = node == k
            xt = torch.where(here.reshape(-1, *[1] * (x.ndim - 1)), x, xt)
            t = torch.where(here, time, t)
        return Batch(xt=xt, t=t, noise=noise, cond=cond)


def _states_sampler(name: str) -> Any:
    from limbeck.plugins.registry import create

    sampler = create("sampler", name)
    if not hasattr(sampler, "states"):
        raise ValueError(f"sampler {name!r} yields no intermediate states; use euler, heun, ddim or dpmpp_2m")
    return sampler


class PairsSource(PartneredSource):
    """Pairs (noise, teacher sample), made at the first batch and kept in memory; then epoch by epoch like real data.

    The i-th pair is a function of (seed, i, chunk): every process and every resumed run makes the same ones.
    """

    name, requires = "pairs", ("teacher",)
    Options = PairsSourceOptions

    _pairs: Batch | None = None

    def pairs(self, device: torch.device | str = "cpu") -> Batch:
        """All of them; generated at the first call, with a progress bar on a terminal."""
        if self._pairs is None:
            from limbeck.plugins.registry import create

            o, teacher = self.options, self.teacher
            assert teacher is not None
            with progress_bar("teacher pairs") as progress:
                self._pairs = make_pairs(
                    teacher,
                    create("sampler", o.sampler),
                    o.count,
                    steps=o.steps,
                    data=self.data,
                    seed=o.seed,
                    chunk=o.chunk,
                    device=device,
                    progress=progress,
                )
        return self._pairs

    def batch(self, size: int, rng: Rng) -> Batch:
        pairs = self.pairs(rng.device)
        assert pairs.x0 is not None and pairs.noise is not None
        rows = rows_of(rng, size, len(pairs)).to(pairs.x0.device)
        return Batch(x0=pairs.x0[rows], noise=pairs.noise[rows], cond=conditions.rows(pairs.cond, rows))


class StudentSource(PartneredSource):
    """Samples of the current student (detached) as x0. Draws: conditions, noise, renoise/k."""

    name, requires = "student", ("generator",)
    Options = StudentSourceOptions

    def batch(self, size: int, rng: Rng) -> Batch:
        assert self.generator is not None
        spec = unwrap(self.generator)
        assert isinstance(spec, Predictor)
        cond = self.conditions(size, rng)
        process: Any = spec.process
        plan = Plan.uniform(process, self.options.steps)
        sample = rollout(spec, cond, plan=plan, rng=rng, batch_size=size, grad="none")
        return Batch(x0=sample.value.detach(), cond=cond)
