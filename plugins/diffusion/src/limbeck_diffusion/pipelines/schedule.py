"""What a diffusers scheduler implies about training: the process, what the network predicts, and its clock.

Three kinds of schedulers cover the families: those with a table `alphas_cumprod` (variance preserving, discrete), flow
matching ones (`FlowMatch...`, or any with `use_flow_sigmas`), and the cosine one of Stable Audio.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.process.gaussian import Coefficients, GaussianProcess, Kind, RectifiedFlow, VPCosine

TINY = 2.0**-24  # instead of 0 at the end of a table with zero terminal SNR, as in diffusers' Euler scheduler


@dataclass(frozen=True)
class VPTable(GaussianProcess):
    """Variance preserving, given by a table: alpha_t^2 = `alphas_cumprod[k]` at t = (k + 1) / N, and 1 at t = 0.

    Between the N + 1 nodes -log alpha_t^2 (the integral of beta) is linear, so beta is piecewise constant, as in the
    discrete chain. t_max is 1, timestep N - 1; the times 1, 3/4, 1/2, 1/4 of four steps are timesteps 999, 749, 499 and
    249 of a thousand (`timestep_spacing="trailing"` in diffusers).
    """

    alphas_cumprod: tuple[float, ...] = field(repr=False)
    _tables: dict = field(init=False, repr=False, compare=False, default_factory=dict)

    t_max = 1.0

    def __post_init__(self) -> None:
        table = torch.tensor(self.alphas_cumprod, dtype=torch.float64)
        if len(table) > 1 and 0 <= table[-1] <= TINY:
            table[-1] = min(TINY, float(table[-2]) / 2)
        if table.ndim != 1 or len(table) < 2 or not (table.diff() < 0).all() or not 0 < table[-1] < table[0] <= 1:
            raise ValueError("alphas_cumprod must be two or more numbers in (0, 1], each below the one before")
        nodes = torch.cat([table.new_zeros(1), -table.log()])
        self._tables[torch.device("cpu"), torch.float64] = nodes

    @property
    def steps(self) -> int:
        """N, the length of the chain."""
        return len(self.alphas_cumprod)

    def _nodes(self, like: Tensor) -> Tensor:
        """-log alpha_t^2 at t = k / N, (N + 1,)."""
        key = like.device, like.dtype
        if key not in self._tables:
            self._tables[key] = self._tables[torch.device("cpu"), torch.float64].to(like)
        return self._tables[key]

    def coefficients(self, t: Tensor) -> Coefficients:
        nodes, count = self._nodes(t), self.steps
        position = t * count
        left = position.detach().floor().clamp(0, count - 1).long()
        low, high = nodes[left], nodes[left + 1]
        integral = low + (position - left) * (high - low)  # int_0^t beta
        beta = (high - low) * count
        alpha_t = torch.exp(-0.5 * integral)
        variance = -torch.expm1(-integral)
        at_data = variance <= 0
        sigma_t = torch.where(at_data, 0.0, torch.where(at_data, 1.0, variance).sqrt())
        slope = torch.where(at_data, math.inf, 0.5 * beta * alpha_t**2 / torch.where(at_data, 1.0, sigma_t))
        return Coefficients(alpha_t, sigma_t, -0.5 * beta * alpha_t, slope)

    def time(self, sigma_edm: Tensor) -> Tensor:
        integral = torch.log1p(sigma_edm**2)
        nodes = self._nodes(integral)
        integral = integral.clamp(max=float(nodes[-1]))
        left = (torch.searchsorted(nodes, integral.contiguous(), right=True) - 1).clamp(0, self.steps - 1)
        low, high = nodes[left], nodes[left + 1]
        return (left + (integral - low) / (high - low)) / self.steps


@dataclass(frozen=True)
class Schedule:
    """A scheduler's facts: the process, the kind of the prediction, and the network's clock.

    `timestep(t)` is what the network is given at time t, in the scheduler's timesteps (0 to N - 1, or sigma times N).
    """

    process: GaussianProcess
    kind: Kind
    steps: int = 1000

    def timestep(self, t: Tensor) -> Tensor:
        """(B,) or (B, F), float32 or better."""
        t = t.to(torch.promote_types(t.dtype, torch.float32))
        if isinstance(self.process, VPTable):
            return (t * self.steps - 1).clamp_min(0)
        return t * self.steps

    def time(self, timestep: Tensor) -> Tensor:
        """The inverse of `timestep`."""
        return (timestep + 1) / self.steps if isinstance(self.process, VPTable) else timestep / self.steps


KINDS: dict[str, Kind] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "velocity"}


def dynamic_shift(config: Any, tokens: int) -> float:
    """The time shift that a flow-matching scheduler with dynamic shifting applies to an image of so many tokens.

    mu grows linearly with the number of tokens; the shift is exp(mu) (`exponential`), or mu itself (`linear`).
    """
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    mu = low + (high - low) * (tokens - few) / (many - few)
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu


def schedule_of(scheduler: Any, tokens: int) -> Schedule:
    """The schedule behind a scheduler object.

    Args:
        tokens: positions of one sample in the network, which a dynamic shift depends on.

    Raises:
        LimbeckError: a scheduler of another kind, or one with settings that no process here has.
    """
    config, name = scheduler.config, type(scheduler).__name__
    steps = int(config.get("num_train_timesteps", 1000))
    predicts = config.get("prediction_type", "flow_prediction" if name.startswith("FlowMatch") else "epsilon")
    if predicts not in KINDS:
        raise LimbeckError(
            f"the scheduler {name} has prediction_type: {predicts}; known: {', '.join(KINDS)}. Correct "
            "scheduler/scheduler_config.json"
        )
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas") or predicts == "flow_prediction":
        dynamic = bool(config.get("use_dynamic_shifting"))
        shift = dynamic_shift(config, tokens) if dynamic else config.get("shift", config.get("flow_shift")) or 1.0
        return Schedule(RectifiedFlow(shift=float(shift)), "velocity", steps)
    if name == "CosineDPMSolverMultistepScheduler":
        if config.get("sigma_data", 1.0) != 1.0 or predicts != "v_prediction":
            raise LimbeckError(
                f"the scheduler {name} has sigma_data {config.get('sigma_data')} and prediction_type {predicts}; only "
                "sigma_data 1 with v_prediction is known. Correct scheduler/scheduler_config.json"
            )
        # Its frame is EDM's, x / alpha_t. Scaled back, x / sqrt(1 + sigma^2), it is the cosine path at the time
        # 2 / pi atan(sigma) that the network is given, and c_skip x + c_out F is x0 from v.
        return Schedule(VPCosine(), "v", 1)
    table = getattr(scheduler, "alphas_cumprod", None)
    if table is None:
        raise LimbeckError(
            f"the scheduler {name} has neither alphas_cumprod nor flow sigmas, so its noise levels are unknown. Save "
            "the pipeline with a scheduler its family allows"
        )
    return Schedule(VPTable(tuple(table.double().tolist())), KINDS[predicts], len(table))


__all__ = ["Schedule", "VPTable", "dynamic_shift", "schedule_of"]
