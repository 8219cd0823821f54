"""One player's turn: its batches, loss, gradients, the guard, the optimizer's step, the average."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.engine import failures
from limbeck.engine.distributed import Place, without_sync
from limbeck.engine.ema import EMA
from limbeck.engine.optimizers import Player, gradient_norm
from limbeck.errors import LimbeckError
from limbeck.interfaces import Batch, Generator, Loss, Objective, Phase, Source, Teacher, unwrap
from limbeck.randomness import Rng
from limbeck.sharding import is_sharded, is_spread, rest

MOST_SKIPS = 50  # turns of one player skipped in a row before a run is given up


@dataclass(frozen=True)
class Micro:
    """One micro-step: what was drawn, and the loss without its graph."""

    rng: Rng
    batch: Batch
    loss: Loss


@dataclass(frozen=True)
class Turn:
    """What came of a turn. `norm` is the gradient's before clipping; `failure` is there when it has to be reported."""

    phase: Phase
    player: Player
    micros: list[Micro]
    norm: Tensor
    skipped: bool = False
    failure: failures.Failure | None = None


class Updates:
    """Makes the turns of a run. A step's index counts from 0."""

    def __init__(
        self,
        objective: Objective,
        source: Source,
        options: Any,
        place: Place,
        *,
        wrapped: Mapping[str, nn.Module],
        ema: EMA | None,
        teacher: nn.Module | None = None,
    ):
        self.objective, self.source, self.options, self.place = objective, source, options, place
        self.roles, self.wrapped, self.ema = objective.roles(), wrapped, ema
        self.parameters = {name: objective.learning(name) for name in self.roles}
        self.accumulate: int = options.accumulate
        self.parts = place.world * self.accumulate
        self.rows = options.batch_size // self.parts
        self.sharded = [m for m in (*self.roles.values(), *([teacher] if teacher else [])) if is_sharded(m)]
        self.players: dict[str, Player] = {}
        self.waiting: dict[str, dict[str, Tensor]] = {}  # loaded optimizers whose phase has not come yet
        followers: list[Any] = [unwrap(module) for module in (*self.roles.values(), *([teacher] if teacher else []))]
        usual = (Generator.at_step, Teacher.at_step)
        self.scheduled = [m for m in followers if getattr(type(m), "at_step", usual[0]) not in usual]
        self.focused: tuple[str, tuple[str, ...]] | None = None

    def begin(self, index: int) -> None:
        """Tell those who follow a schedule which step begins."""
        for module in self.scheduled:
            module.at_step(index)

    def make(self, index: int, phase: Phase) -> Turn:
        turn = self._make(index, phase)
        for module in self.sharded:
            rest(module)
        return turn

    def _make(self, index: int, phase: Phase) -> Turn:
        player = self.players.get(phase.name) or self._new_player(phase)
        if self.focused != (phase.name, phase.roles):
            self._focus(phase)
        micros = [self._micro(index, phase, micro) for micro in range(self.accumulate)]
        scaler = self.place.scaler
        if scaler is not None:
            scaler.unscale_(player.optimizer)
        if self.sharded:
            self.place.average_gradients([p for p in player.parameters if not is_spread(p)])
        gradients = player.gradients()
        self._average_over_items(micros, gradients)
        norm = player.norm(self.place)
        if not self._all_finite(micros, norm):
            return self._skip(index, phase, player, micros, norm)
        player.skips = 0
        player.clip_gradients(gradients, norm)
        player.set_lr(index)
        if scaler is not None:
            scaler.step(player.optimizer)
            scaler.update()
        else:
            player.optimizer.step()
        player.clear_gradients()
        if self.ema is not None and "generator" in phase.roles:
            self.ema.update()
        return Turn(phase, player, micros, norm)

    def _focus(self, phase: Phase) -> None:
        """`Objective.focus` without walking the modules, unless an objective has its own."""
        self.focused = (phase.name, phase.roles)
        if type(self.objective).focus is not Objective.focus:
            self.objective.focus(phase)
            return
        for learns in (False, True):  # a parameter that two roles share learns with either
            for role, parameters in self.parameters.items():
                if (role in phase.roles) is learns:
                    for parameter in parameters:
                        parameter.requires_grad_(learns)

    def _micro(self, index: int, phase: Phase, micro: int) -> Micro:
        """Batch, loss and gradients of one micro-step; processes share gradients in the last one."""
        place = self.place
        rng = self._rng(index, phase, place.rank * self.accumulate + micro, self.parts)
        rng.seed_globally()
        batch = self.source.batch(self.rows, rng)
        if place.device.type != "cpu":
            batch = batch.to(place.device)
        silent = self.wrapped and micro < self.accumulate - 1
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
                value = value * float(place.world)
            elif self.accumulate > 1:
                value = value / self.accumulate
            (place.scaler.scale(value) if place.scaler is not None else value).backward()
        return Micro(rng, batch, replace(loss, value=loss.value.detach()))

    def _average_over_items(self, micros: list[Micro], gradients: list[Tensor]) -> None:
        """Losses that count items (tokens): from sums over micro-batches, which processes have averaged, to the mean
        over the items of the global batch."""
        counts = [micro.loss.count for micro in micros if micro.loss.count is not None]
        if not counts or self.parts == 1 or not gradients:
            return
        total = torch.stack([count.float() for count in counts]).sum()
        if self.place.world > 1:
            total = self.place.sum(total)
        torch._foreach_mul_(gradients, self.rows * self.place.world / total)

    def _loss(self, phase: Phase, batch: Batch, rng: Rng) -> Loss:
        with self.place.autocast() if self.place.mixed else nullcontext():
            return self.objective.loss(phase, batch, rng)

    def _rng(self, index: int, phase: Phase, part: int, parts: int) -> Rng:
        return Rng(self.options.seed, index, phase, part=part, parts=parts, device=self.place.device)

    def _new_player(self, phase: Phase) -> Player:
        player = self.players[phase.name] = Player(phase, self.roles, self.options, self.parameters)
        if phase.name in self.waiting:
            player.load_state_dict(self.waiting.pop(phase.name), f"optimizer-{phase.name}.safetensors")
        return player

    # --- the guard ---

    def _all_finite(self, micros: list[Micro], norm: Tensor) -> bool:
        """One look at the device per turn. With loss scaling, a gradient that overflows is the scaler's business."""
        total = micros[0].loss.value
        if len(micros) > 1:
            total = torch.stack([micro.loss.value for micro in micros]).sum()
        if self.place.scaler is None:
            total = total + norm
        if self.place.world > 1:
            return float(self.place.sum((~torch.isfinite(total)).float())) == 0.0
        return math.isfinite(float(total))

    def _skip(self, index: int, phase: Phase, player: Player, micros: list[Micro], norm: Tensor) -> Turn:
        player.skips += 1
        failure = None
        if self.options.on_nonfinite == "stop" or player.skips in (1, MOST_SKIPS):
            failure = self._diagnose(index, phase, player, micros)
        player.clear_gradients()
        if self.place.scaler is not None:
            self.place.scaler.update()
        return Turn(phase, player, micros, norm, skipped=True, failure=failure)

    def _diagnose(self, index: int, phase: Phase, player: Player, micros: list[Micro]) -> failures.Failure:
        """Which term, and how many samples have it by themselves: rows are drawn again, one by one, as they were."""
        for micro in micros:
            if micro.loss.explain is not None:
                micro.loss.explain()
        micro, term = micros[-1], None
        for candidate in micros:
            term = failures.failing_term(candidate.loss)
            if term is not None:
                micro = candidate
                break
        name, value = term or failures.failing_gradient(player.names, player.parameters)
        rows = len(micro.batch)
        self.objective.bind(self.roles)  # every process looks at its own batch: no collective may wait for others

        def is_bad(row: int, batch: Batch) -> bool:
            rng = self._rng(index, phase, micro.rng.part * rows + row, micro.rng.parts * rows)
            loss = self._loss(phase, batch, rng)
            if term is not None:
                return failures.failing_term(loss) is not None
            player.clear_gradients()
            loss.value.backward()
            return not math.isfinite(float(gradient_norm(player.gradients())))

        # a spread network is called by all processes or by none, and each looks for reasons of its own
        bad = None if self.sharded else failures.bad_rows(micro.batch, is_bad)
        self.objective.bind(self.wrapped)
        return failures.Failure(index + 1, phase, name, value, bad, micro.batch)
