r"""Consistency on each kind of process: which two states are neighbours, and how far apart two answers are.

The objective (target network, schedule of a run, state) is the same everywhere; `kernel_of` chooses by the process. B
batch, L sequence, V vocabulary.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Teacher
from limbeck.process.categorical import CategoricalProcess, MaskedProcess
from limbeck.process.gaussian import GaussianProcess, align
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_size
from limbeck_diffusion.formulas.distances import distance, l2
from limbeck_diffusion.formulas.divergences import DIVERGENCES, Divergence, log_probabilities
from limbeck_diffusion.formulas.times import Count, draw_time, grid_index, index_probabilities, level_count, to_frames
from limbeck_diffusion.objectives.pretraining.mdlm import corrupt, learned_tokens
from limbeck_diffusion.options.base import ConsistencyOptions
from limbeck_diffusion.samplers.gaussian import STEPS, Predict, x0_predictor

# --- formulas --------------------------------------------------------------------------------------------------------


def consistency_pair(
    student: Predict,
    target: Predict,
    xt: Tensor,
    t: Tensor,
    xs: Tensor,
    s: Tensor,
    *,
    boundary: float = 0.0,
    ends: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The two ends that are to agree: f_student(x_t, t) and sg f_target(x_s, s), which is x_s itself where s has come
    down to the `boundary` (t = 0; or a smallest time, where it is `ends`, x_s / alpha_s).

    Song et al. 2023, Eq. 7 (distillation) and Eq. 10 (training).

    Args:
        student, target: (x, t) -> x0_hat.
        xt, xs: two states of one trajectory, (B, *event); t, s: their times, (B,), s < t.

    Returns:
        (prediction, target), (B, *event) each; gradient flows through the prediction only.
    """
    prediction = student(xt, t)
    with torch.no_grad():
        landed = s <= boundary
        # networks are not asked there, those rows are replaced; but a frame is context, and told of at its own time
        end = target(xs, s if s.ndim == 2 else torch.where(landed, t, s))
        end = torch.where(align(landed, xs), xs if ends is None else ends, end)
    return prediction, end


def neighbour_times(process: GaussianProcess, t: Tensor, grid: Tensor) -> Tensor:
    """The largest grid time below each t, (B,) float64; grid falls from t_max to 0, (N + 1,)."""
    rising = grid.flip(0).contiguous()
    # a time read back from float32 may lie a rounding above its own node
    below = torch.searchsorted(rising, t.double() * (1 - 1e-6), right=False) - 1
    return rising[below.clamp_min(0)]


def ratio_times(
    process: GaussianProcess, t: Tensor, stage: int, *, base: float = 2.0, k: float = 8.0, b: float = 1.0
) -> Tensor:
    r"""s(t) that closes in on t stage by stage, Geng et al. 2024 (ECT), at noise levels sigma = sigma_t / alpha_t:
    sigma_s = max(0, sigma (1 - n(sigma) q^-(stage + 1))), n(sigma) = 1 + k sigmoid(-b sigma); (B,) float64."""
    sigma = process.sigma_edm(t.double()).clamp_max(1e3)  # infinite at t_max of rectified flow
    n = 1 + k * torch.sigmoid(-b * sigma)
    return process.time((sigma * (1 - n * base ** -(stage + 1))).clamp_min(0))


def token_distances(
    student: Tensor, target: Tensor, xs: Tensor, known: Tensor, divergence: Divergence
) -> tuple[Tensor, Tensor]:
    """Where x_s already shows the token, its cross entropy -log p_student(x_s) (the target is one-hot there: the
    boundary f(x, 0) = x); elsewhere the divergence of the two laws.

    Args:
        student, target: log-probabilities, (N, V), at x_t and at x_s.
        xs: tokens, (N,); known: whether they are clean tokens, (N,).

    Returns:
        (distance, residual), (N,) each: the residual is the divergence alone, 0 where the token is known.
    """
    shown = torch.where(known, xs, 0)
    surprise = -student.gather(-1, shown.unsqueeze(-1)).squeeze(-1)
    open_ = ~known
    residual = torch.zeros_like(surprise).masked_scatter(open_, divergence(student[open_], target[open_]))
    return torch.where(known, surprise, residual), residual


# --- kernels ---------------------------------------------------------------------------------------------------------

States = tuple[Tensor, Tensor, Tensor, Tensor]  # xt, t, xs, s: (B, *event) and (B,) float64


class Distances(NamedTuple):
    """Distances of one batch: sums over items (tokens) and how many there are, (B,) each; `items` None: one per row."""

    total: Tensor
    residual: Tensor
    items: Tensor | None = None


class Kernel(Protocol):
    sampler: str  # what samples the student by default

    def check(self, spec: Any) -> None:
        """Refuse a generator that cannot be a consistency function."""

    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """Refuse it once it can be asked, on the first batch."""

    def neighbours(self, batch: Batch, rng: Rng) -> States:
        """Two neighbouring states of one trajectory for every row. No gradient."""

    def x0_predictor(self, network: nn.Module, cond: Any) -> Predict:
        """(x, t) -> what the network says of the clean sample."""

    def distances(self, student: Predict, target: Predict, states: States, batch: Batch) -> Distances:
        """How far the student's answer at x_t is from the target's at x_s."""


class GaussianKernel:
    """x_s from x_t by the teacher's solver, or both from one (x0, eps); answers are samples."""

    sampler = "multistep"

    def __init__(self, process: GaussianProcess, teacher: Teacher | None, options: ConsistencyOptions):
        o = options
        self.process, self.teacher, self.options = process, teacher, o
        spacing = o.spacing or process.spacing
        self.grid = time_grid(process, o.nodes, spacing, sigma_range=process.sigma_range)
        if o.boundary == "sigma_min":
            if spacing == "uniform":
                raise ValueError(
                    f"boundary: sigma_min is the last noise level of a grid, and on {process} the grid is uniform in "
                    "t. Add spacing: karras or log_snr"
                )
            self.grid = self.grid[:-1]
        self.boundary = float(self.grid[-1])
        steps = len(self.grid) - 1
        if o.index == "uniform":
            self.chances = torch.full((steps,), 1 / steps, dtype=torch.float64)
        else:
            self.chances = index_probabilities(process, self.grid, o.time_mean, o.time_std)
        self.distance = distance(o.distance, o.huber_c)

    def check(self, spec: Any) -> None:
        self.chunk = chunk_size(spec, spec.space.event[0], None) if self.options.levels == "chunk" else 1
        if getattr(spec, "prediction", None) == "x0":
            raise ValueError(_BOUNDARY.format("it predicts x0 directly"))

    @torch.no_grad()
    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """f(x, t) must be close to x near t = 0, whatever the network says."""
        t = self.process.time(torch.tensor(1e-3, dtype=torch.float64)).expand(len(like)).to(like.device)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
        with torch.random.fork_rng(cuda_of(like.device)):
            moved = float(l2(self.x0_predictor(network, cond)(x, t), x).sqrt().mean())
        if not moved < 0.1:
            raise ValueError(
                _BOUNDARY.format(f"at sigma/alpha = 0.001 it moves its input by {moved:.2g} (root mean square)")
            )

    def neighbours(self, batch: Batch, rng: Rng) -> States:
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
                xs = STEPS[o.solver](x0_predictor(self.teacher, batch.cond), self.process, xt, t, s)
            else:
                xs = self.process.add_noise(batch.x0, eps, s)
        return xt, t, xs, s

    def _times(self, rng: Rng, count: Count) -> tuple[Tensor, Tensor]:
        o = self.options
        if o.schedule == "grid":
            i = grid_index(rng, count, self.chances)
            grid = self.grid.to(i.device)
            return grid[i], grid[i + 1]
        t = draw_time(self.process, rng, count, o.time, o.time_mean, o.time_std, (1e-4, 1.0)).double()
        return self._below(t, rng.step)

    def _below(self, t: Tensor, step: int) -> tuple[Tensor, Tensor]:
        o = self.options
        if o.schedule == "grid":
            return t.double(), neighbour_times(self.process, t, self.grid.to(t.device))
        stage = min(step // o.stage_steps, o.stages - 1)
        return t.double(), ratio_times(self.process, t, stage, base=o.ratio_base)

    def x0_predictor(self, network: Any, cond: Any) -> Predict:
        return x0_predictor(network, cond)

    def distances(self, student: Predict, target: Predict, states: States, batch: Batch) -> Distances:
        _, _, xs, s = states
        ends = xs if self.boundary == 0 else xs / self.process.at(s, xs).alpha_t
        prediction, end = consistency_pair(student, target, *states, boundary=self.boundary, ends=ends)
        seen = {"mask": batch.loss_mask, "padding": self.options.padding}
        return Distances(self.distance(prediction, end, **seen), l2(prediction.detach(), end, **seen))


class TokenKernel:
    """z_s from z_t by one ancestral step of the teacher, or both from one draw u, so that what is visible at t is
    visible at s (nested masks; Latent Shadows 2026, by way of Duo's coupling, Sahoo et al. 2025); answers are laws of
    the token at every position.

    Masked processes compare the masked tokens of z_t. Uniform ones compare all, and know a token only at s = 0.
    """

    sampler = "ancestral"

    def __init__(self, process: CategoricalProcess, teacher: Teacher | None, options: ConsistencyOptions):
        self.process, self.teacher, self.options = process, teacher, options
        self.divergence = DIVERGENCES[options.divergence]
        self.grid = torch.linspace(process.t_max, 0.0, options.nodes + 1, dtype=torch.float64)

    def check(self, spec: Any) -> None:
        """Options that speak of continuous noise must be left alone."""
        o = self.options
        for name in ("schedule", "index", "spacing", "distance", "huber_c", "solver", "boundary", "padding", "levels"):
            given, usual = getattr(o, name), type(o).model_fields[name].default
            if given != usual:
                raise ValueError(
                    f"consistency: option {name}={given} is about continuous noise, and {type(spec).__name__} lives on "
                    f"{self.process}. Leave it out; tokens take mode, nodes, divergence, weight, target_decay"
                )

    def check_boundary(self, network: nn.Module, like: Tensor, cond: Any) -> None:
        """Known tokens are kept by whoever reads the answer."""

    def neighbours(self, batch: Batch, rng: Rng) -> States:
        x0 = batch.x0
        if x0 is None:
            raise ValueError("consistency on tokens corrupts clean ones, but the source yields none: use source data")
        shape = tuple(x0.shape)
        i = rng.integers("t", self.options.nodes, (len(x0),)).to(x0.device)
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

    def x0_predictor(self, network: Any, cond: Any) -> Predict:
        return lambda x, t: network(x, t, cond).logits

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


def kernel_of(process: Any, teacher: Teacher | None, options: ConsistencyOptions) -> GaussianKernel | TokenKernel:
    if isinstance(process, GaussianProcess):
        return GaussianKernel(process, teacher, options)
    if isinstance(process, CategoricalProcess):
        return TokenKernel(process, teacher, options)
    raise TypeError(f"consistency needs a generator on a Gaussian or categorical process; got {process!r}")


_BOUNDARY = (
    "consistency needs a generator with the boundary f(x, 0) = x, and this one does not have it: {}. "
    "Use a Denoiser with prediction 'velocity', 'v' or 'edm', which have it for any weights."
)


def cuda_of(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
