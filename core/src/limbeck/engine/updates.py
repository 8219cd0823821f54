"""One update of one phase: its batches, loss, gradients, the guard, the optimizer's step, the average."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.engine import failures
from limbeck.engine.distributed import Distributed, without_sync
from limbeck.engine.ema import EMA
from limbeck.engine.optimizers import PhaseOptimizer, gradient_norm
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Source, Teacher, unwrap
from limbeck.networks.sharding import is_sharded, is_spread, reshard
from limbeck.randomness import Rng

MOST_SKIPS = 50  # updates of one phase skipped in a row before a run is given up


@dataclass(frozen=True)
class MicroBatch:
    """What was drawn, and the loss without its graph."""

    rng: Rng
    batch: Batch
    loss: Loss


@dataclass(frozen=True)
class Update:
    """What came of it. `norm` is the gradient's before clipping; `failure` is there when it has to be reported."""

    phase: Phase
    optimizer: PhaseOptimizer
    micro_batches: list[MicroBatch]
    norm: Tensor
    skipped: bool = False
    failure: failures.Failure | None = None


class Updates:
    """Makes the updates of a run. A step's index counts from 0."""

    def __init__(
        self,
        objective: Objective,
        source: Source,
        options: Any,
        distributed: Distributed,
        *,
        wrapped: Mapping[str, nn.Module],
        ema: EMA | None,
        teacher: nn.Module | None = None,
    ):
        self.objective, self.source, self.options, self.distributed = objective, source, options, distributed
        self.roles, self.wrapped, self.ema = objective.roles(), wrapped, ema
        self.parameters = {name: objective.learning(name) for name in self.roles}
        self.accumulate: int = options.accumulate
        self.parts = distributed.world * self.accumulate
        self.rows = options.batch_size // self.parts
        self.sharded = [m for m in (*self.roles.values(), *([teacher] if teacher else [])) if is_sharded(m)]
        self.optimizers: dict[str, PhaseOptimizer] = {}
        self.waiting: dict[str, dict[str, Tensor]] = {}  # loaded optimizers whose phase has not come yet
        followers: list[Any] = [unwrap(module) for module in (*self.roles.values(), *([teacher] if teacher else []))]
        usual = (Generator.at_step, Teacher.at_step)
        self.scheduled = [m for m in followers if getattr(type(m), "at_step", usual[0]) not in usual]
        self.focused: tuple[str, tuple[str, ...]] | None = None

    def begin(self, index: int) -> None:
        """Set the step of networks that follow a schedule."""
        for module in self.scheduled:
            module.at_step(index)

    def make(self, index: int, phase: Phase) -> Update:
        """Optimizer's step and all; networks that are spread are resharded afterwards."""
        update = self._make(index, phase)
        for module in self.sharded:
            reshard(module)
        return update

    def _make(self, index: int, phase: Phase) -> Update:
        optimizer = self.optimizers.get(phase.name) or self._new_optimizer(phase)
        if self.focused != (phase.name, phase.roles):
            self.focused = (phase.name, phase.roles)
            self.objective.focus(phase)
        micro_batches = [self._micro_batch(index, phase, number) for number in range(self.accumulate)]
        scaler = self.distributed.scaler
        if scaler is not None:
            scaler.unscale_(optimizer.optimizer)
        if self.sharded:
            self.distributed.average_gradients([p for p in optimizer.parameters if not is_spread(p)])
        gradients = optimizer.gradients()
        self._average_over_items(micro_batches, gradients)
        norm = optimizer.norm(self.distributed)
        if not self._all_finite(micro_batches, norm):
            return self._skip(index, phase, optimizer, micro_batches, norm)
        optimizer.skips = 0
        optimizer.clip_gradients(gradients, norm)
        optimizer.set_lr(index)
        if scaler is not None:
            scaler.step(optimizer.optimizer)
            scaler.update()
        else:
            optimizer.optimizer.step()
        optimizer.clear_gradients()
        if self.ema is not None and "generator" in phase.roles:
            self.ema.update()
        return Update(phase, optimizer, micro_batches, norm)

    def _micro_batch(self, index: int, phase: Phase, number: int) -> MicroBatch:
        """Batch, loss and gradients of one micro-batch; processes share gradients in the last one."""
        distributed = self.distributed
        rng = self._rng(index, phase, distributed.rank * self.accumulate + number, self.parts)
        rng.seed_globally()
        batch = self.source.batch(self.rows, rng)
        if distributed.device.type != "cpu":
            batch = batch.to(distributed.device)
        silent = self.wrapped and number < self.accumulate - 1
        with without_sync([self.wrapped[role] for role in phase.roles]) if silent else nullcontext():
            loss = self._loss(phase, batch, rng)
            if not loss.value.requires_grad:
                raise LimbeckError(
                    f"phase '{phase.name}': the loss does not depend on what it trains ({', '.join(phase.roles)}). "
                    "Is the network detached, or called by another name than network(role, phase)?"
                )
            # averages of parts are averaged; weights that sum to one over the global batch make the parts add up
            value = loss.value
            if loss.count is not None and self.parts > 1:
                value = value * (loss.count / self.rows)  # a sum over items; `_average_over_items` divides
            elif batch.weight is not None:
                value = value * float(distributed.world)
            elif self.accumulate > 1:
                value = value / self.accumulate
            (distributed.scaler.scale(value) if distributed.scaler is not None else value).backward()
        return MicroBatch(rng, batch, replace(loss, value=loss.value.detach()))

    def _average_over_items(self, micro_batches: list[MicroBatch], gradients: list[Tensor]) -> None:
        """Losses that count items (tokens): from sums over micro-batches, which processes have averaged, to the mean
        over the items of the global batch."""
        counts = [micro.loss.count for micro in micro_batches if micro.loss.count is not None]
        if not counts or self.parts == 1 or not gradients:
            return
        total = torch.stack([count.float() for count in counts]).sum()
        if self.distributed.world > 1:
            total = self.distributed.sum(total)
        torch._foreach_mul_(gradients, self.rows * self.distributed.world / total)

    def _loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        with self.distributed.autocast() if self.distributed.mixed else nullcontext():
            return self.objective.loss(phase, batch, rng)

    def _rng(self, index: int, phase: Phase, part: int, parts: int) -> Rng:
        return Rng(self.options.seed, index, phase, part=part, parts=parts, device=self.distributed.device)

    def _new_optimizer(self, phase: Phase) -> PhaseOptimizer:
        optimizer = self.optimizers[phase.name] = PhaseOptimizer(phase, self.roles, self.options, self.parameters)
        if phase.name in self.waiting:
            optimizer.load_state_dict(self.waiting.pop(phase.name), f"optimizer-{phase.name}.safetensors")
        return optimizer

    # --- the guard ---

    def _all_finite(self, micro_batches: list[MicroBatch], norm: Tensor) -> bool:
        """One look at the device per update. With loss scaling, a gradient that overflows is the scaler's business."""
        total = micro_batches[0].loss.value
        if len(micro_batches) > 1:
            total = torch.stack([micro.loss.value for micro in micro_batches]).sum()
        if self.distributed.scaler is None:
            total = total + norm
        if self.distributed.world > 1:
            return float(self.distributed.sum((~torch.isfinite(total)).float())) == 0.0
        return math.isfinite(float(total))

    def _skip(
        self, index: int, phase: Phase, optimizer: PhaseOptimizer, micro_batches: list[MicroBatch], norm: Tensor
    ) -> Update:
        optimizer.skips += 1
        failure = None
        if self.options.on_nonfinite == "stop" or optimizer.skips in (1, MOST_SKIPS):
            failure = self._diagnose(index, phase, optimizer, micro_batches)
        optimizer.clear_gradients()
        if self.distributed.scaler is not None:
            self.distributed.scaler.update()
        return Update(phase, optimizer, micro_batches, norm, skipped=True, failure=failure)

    def _diagnose(
        self, index: int, phase: Phase, optimizer: PhaseOptimizer, micro_batches: list[MicroBatch]
    ) -> failures.Failure:
        """Which term, and how many samples have it by themselves: rows are drawn again, one by one, as they were."""
        for micro in micro_batches:
            if micro.loss.explain is not None:
                micro.loss.explain()
        micro, term = micro_batches[-1], None
        for candidate in micro_batches:
            term = failures.failing_term(candidate.loss)
            if term is not None:
                micro = candidate
                break
        name, value = term or failures.failing_gradient(optimizer.names, optimizer.parameters)
        rows = len(micro.batch)
        self.objective.bind(self.roles)  # every process looks at its own batch: no collective may wait for others

        def is_bad(row: int, batch: Batch) -> bool:
            rng = self._rng(index, phase, micro.rng.part * rows + row, micro.rng.parts * rows)
            loss = self._loss(phase, batch, rng)
            if term is not None:
                return failures.failing_term(loss) is not None
            optimizer.clear_gradients()
            loss.value.backward()
            return not math.isfinite(float(gradient_norm(optimizer.gradients())))

        # a spread network is called by all processes or by none, and each looks for reasons of its own
        bad = None if self.sharded else failures.bad_rows(micro.batch, is_bad)
        self.objective.bind(self.wrapped)
        return failures.Failure(index + 1, phase, name, value, bad, micro.batch)
