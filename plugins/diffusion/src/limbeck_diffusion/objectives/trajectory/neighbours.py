r"""Consistency on each kind of process: which two states are neighbours, and how far apart two predictions are.

The objective (target network, schedule of a run, state) is the same everywhere; `neighbours_of` chooses by the process.
B batch, L sequence, V vocabulary.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Teacher
from limbeck.process.categorical import MaskedProcess
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size
from limbeck_diffusion.formulas.consistency import consistency_pair, neighbour_times, ratio_times, token_distances
from limbeck_diffusion.formulas.distances import distance, l2
from limbeck_diffusion.formulas.divergences import DIVERGENCES, log_probabilities
from limbeck_diffusion.formulas.masked import corrupt, learned_tokens
from limbeck_diffusion.formulas.times import Count, draw_time, grid_index, index_probabilities, level_count, to_frames
from limbeck_diffusion.objectives.process_ops import CategoricalOps, GaussianOps, ProcessOps
from limbeck_diffusion.options.trajectory import ConsistencyOptions
from limbeck_diffusion.samplers.gaussian import STEPS, Predict

States = tuple[Tensor, Tensor, Tensor, Tensor]  # xt, t, xs, s: (B, *event) and (B,) float64


class Distances(NamedTuple):
    """Distances of one batch: sums over items (tokens) and how many there are, (B,) each; `items` None: one per row."""

    total: Tensor
    residual: Tensor
    items: Tensor | None = None


class Neighbours(Protocol):
    sampler: str  # what samples the student by default

    def check(self, spec: Any) -> None:
        """Refuse a generator that cannot be a consistency function."""

    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """Refuse it once it can be called, on the first batch."""

    def states(self, batch: Batch, rng: Rng) -> States:
        """Two neighbouring states of one trajectory for every row. No gradient."""

    def distances(self, student: Predict, target: Predict, states: States, batch: Batch) -> Distances:
        """How far the student's prediction at x_t is from the target's at x_s."""


class GaussianNeighbours:
    """x_s from x_t by the teacher's solver, or both from one (x0, eps); predictions are samples."""

    sampler = "multistep"

    def __init__(self, ops: GaussianOps, teacher: Teacher | None, options: ConsistencyOptions):
        process, times = ops.process, options.times
        self.ops, self.process, self.teacher, self.options = ops, process, teacher, options
        spacing = times.spacing or process.spacing
        self.grid = time_grid(process, times.nodes, spacing, sigma_range=process.sigma_range)
        if options.end.kind == "sigma_min":
            if spacing == "uniform":
                raise ValueError(
                    f"end.kind: sigma_min is the last noise level of a grid, and on {process} the grid is uniform in "
                    "t. Add times.spacing: karras or log_snr"
                )
            self.grid = self.grid[:-1]
        self.boundary = float(self.grid[-1])
        steps = len(self.grid) - 1
        if times.kind == "log_normal":
            self.chances = index_probabilities(process, self.grid, times.mean, times.std)
        else:
            self.chances = torch.full((steps,), 1 / steps, dtype=torch.float64)
        self.distance = distance(options.metric.distance, options.metric.huber_c)

    def check(self, spec: Any) -> None:
        self.chunk = chunk_size(spec, spec.space.event[0], None) if self.options.levels == "chunk" else 1
        if getattr(spec, "prediction", None) == "x0":
            raise ValueError(_BOUNDARY.format("it predicts x0 directly"))

    @torch.no_grad()
    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """f(x, t) must be close to x near t = 0, whatever the network predicts."""
        t = self.process.time(torch.tensor(1e-3, dtype=torch.float64)).expand(len(like)).to(like.device)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
        with torch.random.fork_rng(cuda_of(like.device)):
            moved = float(l2(self.ops.predictor(network, cond)(x, t), x).sqrt().mean())
        if not moved < 0.1:
            raise ValueError(
                _BOUNDARY.format(f"at sigma/alpha = 0.001 it moves its input by {moved:.2g} (root mean square)")
            )

    def states(self, batch: Batch, rng: Rng) -> States:
        o = self.options
        distils = o.mode == "distillation"
        if batch.xt is not None and batch.t is not None and distils:
            xt = batch.xt
            t, s = self._below(batch.t, rng.step)
        elif batch.x0 is not None:
            count = level_count(batch.x0, o.levels, self.chunk)
            t, s = (to_frames(time.to(batch.x0.device), batch.x0) for time in self._times(rng, count))
            eps = rng.normal("eps", batch.x0.shape, batch.x0.dtype).to(batch.x0.device)
            xt = self.process.add_noise(batch.x0, eps, t)
        else:
            raise ValueError(
                f"consistency in mode={o.mode} got a batch without "
                f"{'x0 or (xt, t)' if distils else 'x0'}: use source data" + (" or trajectory" if distils else "")
            )
        with torch.no_grad():
            if distils:
                assert self.teacher is not None
                xs = STEPS[o.solver](self.ops.predictor(self.teacher, batch.cond), self.process, xt, t, s)
            else:
                assert batch.x0 is not None
                xs = self.process.add_noise(batch.x0, eps, s)
        return xt, t, xs, s

    def _times(self, rng: Rng, count: Count) -> tuple[Tensor, Tensor]:
        o = self.options.times
        if o.schedule == "grid":
            i = grid_index(rng, count, self.chances)
            grid = self.grid.to(i.device)
            return grid[i], grid[i + 1]
        t = draw_time(self.process, rng, count, o.kind or "log_normal", o.mean, o.std, (1e-4, 1.0)).double()
        return self._below(t, rng.step)

    def _below(self, t: Tensor, step: int) -> tuple[Tensor, Tensor]:
        o = self.options.times
        if o.schedule == "grid":
            return t.double(), neighbour_times(self.process, t, self.grid.to(t.device))
        stage = min(step // o.ratio.stage_steps, o.ratio.stages - 1)
        return t.double(), ratio_times(self.process, t, stage, base=o.ratio.base)

    def distances(self, student: Predict, target: Predict, states: States, batch: Batch) -> Distances:
        _, _, xs, s = states
        ends = xs if self.boundary == 0 else xs / self.process.at(s, xs).alpha_t
        prediction, end = consistency_pair(student, target, *states, boundary=self.boundary, ends=ends)
        mask, padding = batch.loss_mask, self.options.metric.padding
        return Distances(
            self.distance(prediction, end, mask=mask, padding=padding),
            l2(prediction.detach(), end, mask=mask, padding=padding),
        )


class TokenNeighbours:
    """z_s from z_t by one ancestral step of the teacher, or both from one draw u, so that what is visible at t is
    visible at s (nested masks; Latent Shadows 2026, by way of Duo's coupling, Sahoo et al. 2025); predictions are
    distributions of the token at every position.

    Masked processes compare the masked tokens of z_t. Uniform ones compare all, and know a token only at s = 0.
    """

    sampler = "ancestral"

    def __init__(self, ops: CategoricalOps, teacher: Teacher | None, options: ConsistencyOptions):
        self.ops, self.process, self.teacher, self.options = ops, ops.process, teacher, options
        self.divergence = DIVERGENCES[options.metric.divergence]
        self.grid = torch.linspace(self.process.t_max, 0.0, options.times.nodes + 1, dtype=torch.float64)

    def check(self, spec: Any) -> None:
        """Any network on the process will do."""

    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """Known tokens are kept: `distances` compares the others."""

    def states(self, batch: Batch, rng: Rng) -> States:
        x0 = batch.x0
        if x0 is None:
            raise ValueError("consistency on tokens corrupts clean ones, but the source yields none: use source data")
        shape = tuple(x0.shape)
        i = rng.integers("t", self.options.times.nodes, (len(x0),)).to(x0.device)
        grid = self.grid.to(x0.device)
        t, s = grid[i], grid[i + 1]
        u = self.process.noise(shape, rng).to(x0.device)
        xt = corrupt(self.process, batch, u, t)
        if self.options.mode == "training":
            return xt, t, corrupt(self.process, batch, u, s), s
        assert self.teacher is not None
        with torch.no_grad():
            p = log_probabilities(self.teacher(xt, t, batch.cond).logits).exp()
            v = rng.uniform("step", shape, torch.float64).to(x0.device)
            xs = self.process.step(xt, t, s, p, v)
        learned = learned_tokens(batch)
        return xt, t, xs if learned is None else xs.where(learned, x0), s

    def distances(self, student: Predict, target: Predict, states: States, batch: Batch) -> Distances:
        xt, t, xs, s = states
        landed = (s == 0).unsqueeze(1)
        if isinstance(self.process, MaskedProcess):
            compared, known = xt.eq(self.process.mask_id), xs.ne(self.process.mask_id)
        else:
            compared, known = torch.ones_like(xt, dtype=torch.bool), landed.expand(xt.shape)
        learned = learned_tokens(batch)
        compared = compared if learned is None else compared & learned  # (B, L)
        prediction = log_probabilities(student(xt, t)[compared])  # (N, V)
        with torch.no_grad():
            end = log_probabilities(target(xs, torch.where(s == 0, t, s))[compared])
        found = token_distances(prediction, end, xs[compared], known[compared], self.divergence)
        total, residual = (d.new_zeros(xt.shape).masked_scatter(compared, d).sum(1) for d in found)
        return Distances(total, residual.detach(), compared.sum(1))


def neighbours_of(ops: ProcessOps, teacher: Teacher | None, options: ConsistencyOptions) -> Neighbours:
    """The pairs of states on a process."""
    return (
        GaussianNeighbours(ops, teacher, options)
        if isinstance(ops, GaussianOps)
        else TokenNeighbours(ops, teacher, options)
    )


_BOUNDARY = (
    "consistency needs a generator with the boundary f(x, 0) = x, and this one does not have it: {}. "
    "Use a Denoiser with prediction 'velocity', 'v' or 'edm', which have it for any weights."
)


def cuda_of(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


__all__ = ["Distances", "GaussianNeighbours", "Neighbours", "TokenNeighbours", "cuda_of", "neighbours_of"]
