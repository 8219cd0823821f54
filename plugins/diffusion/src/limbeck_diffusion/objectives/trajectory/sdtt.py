r"""Self-distillation through time, Deschenaux & Gulcehre 2024 (SDTT): a student's step learns what several steps of the
teacher find out.

Letters: B batch, L sequence, V vocabulary, m sub-steps.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Batch, Generator, Loss, Phase, Teacher, unwrap
from limbeck.networks.sharding import plain_copy
from limbeck.randomness import Rng
from limbeck_diffusion.formulas.divergences import DIVERGENCES, log_probabilities, token_loss
from limbeck_diffusion.formulas.masked import corrupt, sub_times, targets
from limbeck_diffusion.formulas.times import stratified_time
from limbeck_diffusion.objectives.averages import follow
from limbeck_diffusion.objectives.base import StudentObjective
from limbeck_diffusion.objectives.process_ops import masked_process
from limbeck_diffusion.options.trajectory import SDTTOptions


class SDTT(StudentObjective):
    """The student's prediction at x_t, for every masked token, learns the teacher's after up to m - 1 of its own steps.

    Rounds: every `rounds.steps` steps the student becomes the teacher and dt doubles, until m dt is 1 / student_steps.
    The teacher of a round is part of `state_dict`, so that a resumed run distils from the same one. Works from clean
    data. Draws: t, eps, sub_step/k.
    """

    Options = SDTTOptions
    options: SDTTOptions

    def setup(self, generator: Generator, teacher: Teacher | None = None, **named: Any) -> None:
        if teacher is None:
            raise ValueError("sdtt needs a teacher, got None. Pass one to setup, or add a `teacher:` block to a recipe")
        spec = unwrap(generator)
        self.process = masked_process(spec, "sdtt")
        if teacher.process != self.process:
            raise ValueError(
                f"sdtt compares both models at one x_t, but the generator lives on {self.process} and the teacher on "
                f"{teacher.process}. Give the generator the teacher's process (init: teacher)"
            )
        self.divergence = DIVERGENCES[self.options.metric.divergence]
        self.add_role("generator", generator)
        self.teacher: nn.Module = teacher
        self.round = 0
        decay = self.options.rounds.decay
        self.average: nn.Module | None = self._copy() if decay and self.options.rounds.count > 1 else None
        self._averaged_until = 0  # steps whose updates the average has seen

    def sampling(self) -> dict[str, Any]:
        return {"use": "ancestral", "steps": self.options.rounds.student_steps}

    def round_at(self, step: int) -> int:
        """The round of a step, counted from 0."""
        return min(step // self.options.rounds.steps, self.options.rounds.count - 1)

    def dt(self, step: int) -> float:
        """The teacher's step size."""
        return 2 ** self.round_at(step) / self.options.rounds.teacher_steps

    def loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        o, process = self.options, self.process
        if batch.x0 is None:
            raise ValueError("sdtt corrupts clean tokens, but the source yields none: use source data")
        self._begin(rng.step)
        x0, dt = batch.x0, self.dt(rng.step)
        temperature = o.target.temperature if self.round == 0 else 1.0
        shape = tuple(x0.shape)
        t = self.times(rng, len(x0), dt).to(x0.device)
        xt = corrupt(process, batch, process.noise(shape, rng).to(x0.device), t)
        hidden = xt.eq(process.mask_id)  # (B, L)
        with torch.no_grad():
            target = targets(
                lambda x, time: self.teacher(x, time, batch.cond).logits / temperature,
                process,
                xt,
                sub_times(t, dt, o.rounds.sub_steps),
                lambda k: rng.uniform(f"sub_step/{k}", shape, torch.float64).to(x0.device),
            )  # (N, V)
        logits = self.network("generator", phase)(xt, t, batch.cond).logits
        distances = self.divergence(target, log_probabilities(logits[hidden]))  # (N,)
        total = distances.new_zeros(shape).masked_scatter(hidden, distances).sum(1)  # (B,)
        return token_loss(total, hidden.sum(1), batch.weight)

    def times(self, rng: Rng, count: int, dt: float) -> Tensor:
        """t of every row, (B,), float64: a node of the student's grid, or anywhere in [0, 1]."""
        t = stratified_time(rng, count)
        if self.options.times.kind == "uniform":
            return t
        steps = round(1 / (dt * self.options.rounds.sub_steps))
        return ((t * steps).floor() + 1) / steps

    # --- rounds ---

    def _begin(self, step: int) -> None:
        """Once per step, before its first loss: follow the student, and make it the teacher when a round begins."""
        if self.average is not None and step > self._averaged_until:
            follow(self.average, self.bare("generator"), self.options.rounds.decay)
            self._averaged_until = step
        if self.round_at(step) > self.round:
            self.round = self.round_at(step)
            self.teacher = self._copy(self.average)

    def _copy(self, module: nn.Module | None = None) -> nn.Module:
        """A frozen copy of a network (the student), in evaluation mode."""
        return plain_copy(self.bare("generator") if module is None else module).eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Tensor]:
        state = {"round": torch.tensor(self.round), "averaged_until": torch.tensor(self._averaged_until)}
        if self.round:
            state |= {f"teacher.{name}": value for name, value in self.teacher.state_dict().items()}
        if self.average is not None:
            state |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.round, self._averaged_until = int(state["round"]), int(state["averaged_until"])
        if self.round:
            self.teacher = self._copy()
            self.teacher.load_state_dict(_part(state, "teacher."))
        if self.average is not None:
            self.average.load_state_dict(_part(state, "average."))


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


__all__ = ["SDTT"]
