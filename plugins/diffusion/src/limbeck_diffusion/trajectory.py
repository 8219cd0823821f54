r"""Trajectory methods with a discrete step: neighbouring states of one trajectory must map to the same sample.

Consistency function: f(x, t) = x0_hat(x, t), the end of the ODE from (x, t); its boundary is f(x, 0) = x. Distillation
gets the neighbour x_s from x_t by one step of a solver on the teacher; training gets both from one (x0, eps).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Predictor, Teacher, average, unwrap
from limbeck.manifest import Needs
from limbeck.processes import EDM, GaussianProcess, align, time_grid
from limbeck.randomness import Rng
from limbeck_diffusion.distances import distance, l2
from limbeck_diffusion.options import ConsistencyOptions
from limbeck_diffusion.samplers import STEPS, Predict, asker
from limbeck_diffusion.times import draw_time, grid_index, index_probabilities

# --- formulas --------------------------------------------------------------------------------------------------------


def consistency_pair(
    student: Predict, target: Predict, xt: Tensor, t: Tensor, xs: Tensor, s: Tensor
) -> tuple[Tensor, Tensor]:
    """The two ends that are to agree: f_student(x_t, t) and sg f_target(x_s, s), which is x_s itself where s = 0.

    Song et al. 2023, Eq. 7 (distillation) and Eq. 10 (training).

    Args:
        student, target: (x, t) -> x0_hat.
        xt, xs: two states of one trajectory, (B, *event); t, s: their times, (B,), s < t.

    Returns:
        (prediction, target), (B, *event) each; gradient flows through the prediction only.
    """
    prediction = student(xt, t)
    with torch.no_grad():
        landed = s == 0
        end = target(xs, torch.where(landed, t, s))  # networks are not asked at t = 0: those rows are replaced
        end = torch.where(align(landed, xs), xs, end)
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


# --- objective -------------------------------------------------------------------------------------------------------


class Consistency(Objective):
    """Consistency distillation and training: Song et al. 2023; with `index: log_normal`, `weight: inverse_step` and
    `mode: training` iCT (Song & Dhariwal 2024); with `schedule: ratio` ECT (Geng et al. 2024).

    The student's parameterisation must satisfy f(x, 0) = x: velocity, v and edm do. Guidance is the teacher's business.
    Works from clean data (`source: data`) and from teacher states (`source: trajectory`, distillation only).
    The EMA target moves once per step, before the first loss of that step; it is part of `state_dict`.

    Draws: t, eps.
    """

    Options = ConsistencyOptions
    options: ConsistencyOptions
    needs = Needs(generator={"gaussian", "denoiser", "sampling"})

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        o = self.options
        spec = unwrap(generator)
        assert isinstance(spec, Predictor)
        self.process: GaussianProcess = spec.process
        self.teacher = teacher
        if o.mode == "distillation":
            if teacher is None:
                raise ValueError("consistency with mode=distillation needs a teacher; give one, or use mode=training")
            if teacher.process != self.process:
                raise ValueError(
                    f"consistency follows the teacher's trajectory, but the generator lives on {self.process} and the "
                    f"teacher on {teacher.process}. Give the generator the teacher's process (init: teacher)."
                )
        if getattr(spec, "prediction", None) == "x0":
            raise ValueError(_BOUNDARY.format("it predicts x0 directly"))
        spacing = o.spacing or ("karras" if isinstance(self.process, EDM) else "uniform")
        self.grid = time_grid(self.process, o.nodes, spacing, sigma_range=_sigma_range(self.process))
        if o.index == "uniform":
            self.chances = torch.full((o.nodes,), 1 / o.nodes, dtype=torch.float64)
        else:
            self.chances = index_probabilities(self.process, self.grid, o.time_mean, o.time_std)
        self.distance = distance(o.distance, o.huber_c)
        self.add_role("generator", generator)
        self.shares_dropout = any(isinstance(m, _DROPOUT) and m.p > 0 for m in spec.modules())
        self.target: nn.Module | None = None
        if o.target_decay:
            self.target = copy.deepcopy(spec).requires_grad_(False)
        self._target_step = -1
        self._boundary_checked = False

    def phases(self, step: int) -> Sequence[Phase]:
        return (Phase("generator", ("generator",)),)

    def sampling(self) -> dict[str, Any]:
        return {"use": "multistep", "steps": self.options.sampling_steps}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        xt, t, xs, s = self.neighbours(batch, rng)
        student = self.network("generator", phase)
        self._check_boundary(xt, batch.cond)
        target = asker(self._target_network(rng.step), batch.cond)
        if self.shares_dropout:
            target = _with_dropout_of_now(target, xt.device)
        prediction, end = consistency_pair(asker(student, batch.cond), target, xt, t, xs, s)
        apart = self.distance(prediction, end)
        if self.options.weight == "inverse_step":
            apart = apart / (t - s).to(apart.dtype)
        return Loss(
            average(apart, batch.weight),
            {"residual": average(l2(prediction.detach(), end), batch.weight)},
        )

    def neighbours(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Two neighbouring states (xt, t, xs, s) for every row; times (B,) float64. No gradient."""
        o = self.options
        distils = o.mode == "distillation"
        if batch.xt is not None and batch.t is not None and distils:
            xt = batch.xt
            t, s = self._below(batch.t, rng.step)
        elif batch.x0 is not None:
            t, s = self._times(rng, len(batch.x0))
            t, s = t.to(batch.x0.device), s.to(batch.x0.device)
            eps = rng.normal("eps", batch.x0.shape, batch.x0.dtype).to(batch.x0.device)
            xt = self.process.add_noise(batch.x0, eps, t)
        else:
            raise ValueError(
                f"consistency in mode={o.mode} got a batch without "
                f"{'x0 or (xt, t)' if distils else 'x0'}: use source data" + (" or trajectory" if distils else "")
            )
        with torch.no_grad():
            if distils:
                xs = STEPS[o.solver](asker(self.teacher, batch.cond), self.process, xt, t, s)
            else:
                xs = self.process.add_noise(batch.x0, eps, s)
        return xt, t, xs, s

    def _times(self, rng: Rng, count: int) -> tuple[Tensor, Tensor]:
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

    # --- target ---

    def _target_network(self, step: int) -> nn.Module:
        online = self._bare["generator"]  # bare: a DDP wrapper would prepare for gradients that never come
        if self.target is None:
            return online
        if step != self._target_step:
            decay = self.options.target_decay if self._target_step >= 0 else 0.0
            self._follow(online, decay)
            self._target_step = step
        return self.target

    @torch.no_grad()
    def _follow(self, online: nn.Module, decay: float) -> None:
        assert self.target is not None
        source = dict(online.named_parameters()) | dict(online.named_buffers())
        first = next(iter(source.values()), None)
        if first is not None:
            self.target.to(first.device)
        self.target.train(online.training)
        for name, buffer in self.target.named_buffers():
            buffer.copy_(source[name])
        for name, parameter in self.target.named_parameters():
            parameter.lerp_(source[name].to(parameter.dtype), 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        if self.target is None:
            return {}
        state = {f"target.{name}": value for name, value in self.target.state_dict().items()}
        return state | {"target_step": torch.tensor(self._target_step)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self.target is None:
            return super().load_state_dict(state)
        self._target_step = int(state["target_step"])
        self.target.load_state_dict({k.removeprefix("target."): v for k, v in state.items() if k.startswith("target.")})

    # --- boundary ---

    @torch.no_grad()
    def _check_boundary(self, like: Tensor, cond: Any) -> None:
        """f(x, t) must be close to x near t = 0, whatever the network says. Asked once, on the first batch."""
        if self._boundary_checked:
            return
        self._boundary_checked = True
        t = self.process.time(torch.tensor(1e-3, dtype=torch.float64)).expand(len(like)).to(like.device)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)
        with torch.random.fork_rng(_cuda(like.device)):
            moved = float(l2(asker(self._bare["generator"], cond)(x, t), x).sqrt().mean())
        if not moved < 0.1:
            raise ValueError(
                _BOUNDARY.format(f"at sigma/alpha = 0.001 it moves its input by {moved:.2g} (root mean square)")
            )


_BOUNDARY = (
    "consistency needs a generator with the boundary f(x, 0) = x, and this one does not have it: {}. "
    "Use a Denoiser with prediction 'velocity', 'v' or 'edm', which have it for any weights."
)
_DROPOUT = (nn.modules.dropout._DropoutNd, nn.modules.dropout.AlphaDropout)


def _sigma_range(process: GaussianProcess) -> tuple[float, float]:
    return (process.sigma_min, process.sigma_max) if isinstance(process, EDM) else (0.002, 80.0)


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _with_dropout_of_now(predict: Predict, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """`predict` with the dropout masks that a call made now would draw: both branches must share them (iCT, App. A)."""
    state = torch.get_rng_state()
    device_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def replayed(x: Tensor, t: Tensor) -> Tensor:
        with torch.random.fork_rng(_cuda(device)):
            torch.set_rng_state(state)
            if device_state is not None:
                torch.cuda.set_rng_state(device_state, device)
            return predict(x, t)

    return replayed
