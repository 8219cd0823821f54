r"""Trajectory methods with a discrete step: neighbouring states of one trajectory must map to the same sample.

Consistency function: f(x, t) = x0_hat(x, t), the end of the ODE from (x, t); its boundary is f(x, 0) = x. Distillation
gets the neighbour x_s from x_t by one step of a solver on the teacher; training gets both from one (x0, eps). On a
categorical process the prediction is a distribution of every token; see
`limbeck_diffusion.objectives.trajectory.neighbours`.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Generator, Loss, Phase, Predictor, Teacher, average, unwrap
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.divergences import token_loss
from limbeck_diffusion.objectives.averages import follow
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.objectives.process_ops import ops_of
from limbeck_diffusion.objectives.trajectory.neighbours import GaussianNeighbours, Neighbours, cuda_of, neighbours_of
from limbeck_diffusion.options.trajectory import ConsistencyOptions
from limbeck_diffusion.samplers.gaussian import Predict


class Consistency(StudentObjective):
    """Consistency distillation and training: Song et al. 2023; with `times.kind: log_normal`, `weight: inverse_step`
    and `mode: training` iCT (Song & Dhariwal 2024); with `times.schedule: ratio` ECT (Geng et al. 2024). Methods that
    are only other defaults are rows in `limbeck_diffusion.manifest.trajectory`.

    The student's parameterisation must satisfy f(x, 0) = x: velocity, v and edm do. Guidance is the teacher's business.
    Works from clean data (`source: data`) and from teacher states (`source: trajectory`, distillation only).
    The EMA target moves once per step, before the first loss of that step; it is part of `state_dict`.

    On tokens: coupled states of a masked or uniform process, compared by a KL divergence.

    Draws: t, eps; step (tokens, distillation).
    """

    name = "consistency"
    Options = ConsistencyOptions
    options: ConsistencyOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        o = self.options
        spec = unwrap(generator)
        assert isinstance(spec, Predictor)
        self.process = spec.process
        self.teacher = teacher
        if o.mode == "distillation":
            if teacher is None:
                raise ValueError(f"{self.name} with mode=distillation needs a teacher; give one, or use mode=training")
            if teacher.process != self.process:
                raise ValueError(
                    f"{self.name} follows the teacher's trajectory, but the generator lives on {self.process} and the "
                    f"teacher on {teacher.process}. Give the generator the teacher's process (init: teacher)."
                )
        self.ops = ops_of(self.process, o, self.name)
        self.neighbours: Neighbours = neighbours_of(self.ops, teacher, o)
        self.neighbours.check(spec)
        self.add_role("generator", generator)
        self.shares_dropout = any(isinstance(m, _DROPOUT) and m.p > 0 for m in spec.modules())
        self.target: nn.Module | None = None
        if o.target.decay:
            self.target = copy.deepcopy(spec).requires_grad_(False)
        self._target_step = -1
        self._boundary_checked = False

    def sampling(self) -> dict[str, Any]:
        neighbours = getattr(self, "neighbours", GaussianNeighbours)
        return {"use": neighbours.sampler, "steps": self.options.sampling_steps}

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        ops, neighbours = self.ops, self.neighbours
        states = neighbours.states(batch, rng)
        student = self.network("generator", phase)
        if not self._boundary_checked:
            self._boundary_checked = True
            neighbours.check_boundary(self.bare("generator"), states[0], batch.cond)
        target = ops.predictor(self._target_network(rng.step), batch.cond)
        if self.shares_dropout:
            target = _with_dropout_of_now(target, states[0].device)
        distances, residual, items = neighbours.distances(ops.predictor(student, batch.cond), target, states, batch)
        if self.options.weight == "inverse_step":
            _, t, _, s = states
            distances = distances / (t - s).to(distances.dtype)
        if items is None:
            return Loss(average(distances, batch.weight), {"residual": average(residual, batch.weight)})
        return token_loss(distances, items, batch.weight, residual=residual)

    # --- target ---

    def _target_network(self, step: int) -> nn.Module:
        online = self.bare("generator")  # bare: a DDP wrapper would prepare for gradients that never come
        if self.target is None:
            return online
        if step != self._target_step:
            decay = self.options.target.decay if self._target_step >= 0 else 0.0
            self.target.train(online.training)
            follow(self.target, online, decay)
            self._target_step = step
        return self.target

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


_DROPOUT = (nn.modules.dropout._DropoutNd, nn.modules.dropout.AlphaDropout)


def _with_dropout_of_now(predict: Predict, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """`predict` with the dropout masks that a call made now would draw: both branches must share them (iCT, App. A)."""
    state = torch.get_rng_state()
    device_state = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def replayed(x: Tensor, t: Tensor) -> Tensor:
        with torch.random.fork_rng(cuda_of(device)):
            torch.set_rng_state(state)
            if device_state is not None:
                torch.cuda.set_rng_state(device_state, device)
            return predict(x, t)

    return replayed


__all__ = ["Consistency"]
