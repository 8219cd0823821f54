"""The loop: for every step, every phase that the objective names.

A step n (from 1, as logs and folders count) is index n - 1 of `objective.phases(index)` and `Rng(seed, index, phase)`.
"""

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.engine import checkpoint, failures, states
from limbeck.engine.distributed import Place, without_sync, wrap_roles
from limbeck.engine.ema import EMA
from limbeck.engine.interrupt import Interrupts
from limbeck.engine.metrics_log import Lines
from limbeck.engine.optimizers import Player, gradient_norm
from limbeck.engine.progress import Progress
from limbeck.engine.run_record import RunRecord, differences
from limbeck.errors import HookError, Interrupted, LimbeckError, NonFinite, RecipeError, RunExists, did_you_mean
from limbeck.interfaces import Batch, Loss, Phase
from limbeck.randomness import Rng

Done = list[tuple[Rng, Batch, Loss]]  # the micro-steps of one turn
MOST_SKIPS = 50  # updates skipped in a row before a run is given up


def train(built: Any, run_folder: str | os.PathLike, *, resume: bool = False, progress: bool = True) -> None:
    """Run a built recipe to its last step, in a folder of its own.

    Args:
        built: a `limbeck.build.Built`.
        run_folder: receives metrics, checkpoints, samples, and the final table and report.
        resume: go on from the last good checkpoint there, or from the start if there is none yet.
        progress: draw a bar when standard error is a terminal.
    """
    _Training(built, Path(run_folder), resume, progress).run()


class _Training:
    """One run of the engine. `step` is the number of steps taken."""

    def __init__(self, built: Any, folder: Path, resume: bool, progress: bool):
        self.built, self.recipe, self.objective, self.source = built, built.recipe, built.objective, built.source
        self.options = built.recipe.train
        self.folder, self.resume, self.wants_progress = folder, resume, progress
        self.step = self.start = 0
        self.waiting: dict[str, dict[str, Tensor]] = {}
        self.players: dict[str, Player] = {}
        self.focused: tuple[str, tuple[str, ...]] | None = None
        self.skips = 0
        self.seconds_before = 0.0

    # --- around the loop ---

    def run(self) -> None:
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        self.place = Place(self.options.precision, self.options.trackers, self.folder)
        self._split_batch()
        self._check_phases()
        self.record = RunRecord(self.folder)
        self._open_folder()
        self._prepare()
        found = self._restore() if self.resume else None
        if self.step >= self.options.steps and self.record.content.get("status") == "finished":
            self._say(
                f"  {self.folder} is finished: {self.step} of {self.options.steps} steps. To train on, raise them: "
                f"{self._command()} train.steps={2 * self.step}"
            )
            return
        self._open_logs(found.state if found else {})
        self.bar = Progress(self._verb(), self.options.steps, self.step, wanted=self.wants_progress and self.place.main)
        status = "failed"
        try:
            with Interrupts(self._say) as self.interrupts, self._full_disk():
                self._start_hooks()
                if found is not None and found.state.get("evaluation_due"):
                    self._evaluate()
                self._loop()
                self._finish()
            status = "finished"
        except (Interrupted, KeyboardInterrupt):
            status = "interrupted"
            raise
        finally:
            self._close(status)

    def _split_batch(self) -> None:
        self.accumulate = self.options.accumulate
        self.parts = self.place.world * self.accumulate
        if self.options.batch_size % self.parts:
            raise RecipeError(
                f"train.batch_size {self.options.batch_size} cannot be split evenly into {self.parts} parts "
                f"({self.place.world} processes x train.accumulate {self.accumulate}). Use a multiple of {self.parts}"
            )
        self.rows = self.options.batch_size // self.parts

    def _check_phases(self) -> None:
        """A misspelt name under train.phases would otherwise do nothing, in silence."""
        looked_at = range(min(self.options.steps, 200))
        known = dict.fromkeys(phase.name for index in looked_at for phase in self.objective.phases(index))
        for name in self.options.phases:
            if name not in known:
                raise RecipeError(
                    f"train.phases: the objective has no phase '{name}'. {did_you_mean(name, known)}"
                    f"Known: {', '.join(known)}"
                )

    def _open_folder(self) -> None:
        """Refuse a folder in use; note what changed since it was made."""
        self.record.read()
        self.changes: dict[str, Any] = {}
        written = self.folder / "recipe.yaml"
        checkpoints = self.folder / "checkpoints"
        if not self.resume and (self.record.content or checkpoint.listed(checkpoints)):
            raise RunExists(
                f"{self.folder} already holds a run. Go on with it (resume=True, --resume), or start over (--overwrite)"
            )
        self.place.wait()
        if not self.place.main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.clean(checkpoints)
        if self.resume and written.is_file():
            from limbeck.recipe_text import read

            self.changes = differences(read(written)[0], self.recipe.to_dict())
        aside = written.with_name("recipe.yaml.part")
        aside.write_text(self.recipe.to_yaml(), encoding="utf-8")
        os.replace(aside, written)

    def _prepare(self) -> None:
        """Networks on the device, wrapped; averages."""
        built, place = self.built, self.place
        if built.teacher is not None:
            built.teacher.to(place.device)
        self.wrapped = wrap_roles(self.objective, place)
        self.roles = self.objective.roles()
        if self.options.compile:
            for module in (*self.roles.values(), *([built.teacher] if built.teacher is not None else [])):
                module.compile()
        self.ema: EMA | None = None
        if self.options.ema:
            if "generator" not in self.roles:
                raise RecipeError(f"train.ema averages role 'generator'; the objective has only {sorted(self.roles)}")
            self.ema = EMA(self.roles["generator"], self.options.ema)

    def _restore(self) -> checkpoint.Checkpoint | None:
        folder = self.folder / "checkpoints"
        found, refused = checkpoint.last_good(folder)
        for error in refused:
            self._say(f"  refused: {error}")
        if found is None:
            self._say(f"  no checkpoint in {self.folder} yet: starting from step 0")
            return None
        if refused:
            self._say(f"  going on from the last good one, {found.path.name}")
        self.waiting = states.give_back(found, self.objective, self.ema)
        if self.place.scaler is not None and found.state.get("scaler"):
            self.place.scaler.load_state_dict(found.state["scaler"])
        self.step = self.start = found.step
        self.place.wait()
        if self.place.main:
            checkpoint.set_aside_newer(folder, found.step)
        return found

    def _open_logs(self, state: Mapping[str, Any]) -> None:
        self.lines = self.timings = None
        self.terms: list[tuple[dict[str, Any], list[str], Tensor]] = []
        self.seconds_before = float(state.get("seconds", 0.0))
        if not self.place.main:
            return
        fresh = not self.resume
        self.lines = Lines(self.folder / "metrics.jsonl", None if fresh else state.get("metrics_bytes", 0))
        self.timings = Lines(self.folder / "timings.jsonl", None if fresh else state.get("timings_bytes", 0))
        if not self.lines.complete:
            self._say("  metrics.jsonl is shorter than when the checkpoint was saved: earlier lines are lost")
        self.record.start(self.recipe, self.place.world)
        event = "resumed" if self.resume and self.step else "started"
        self.record.happened(event, self.step, "running", **({"changes": self.changes} if self.changes else {}))

    def _start_hooks(self) -> None:
        """Hooks of plugins and callbacks; of the main process only, like everything that writes."""
        from limbeck.hooks import Hooks

        self.hooks = Hooks(self.built.callbacks) if self.place.main else Hooks((), plugins=())
        self.hears_steps = bool(self.hooks.implementations("step_ended"))
        self.hooks("run_started", run=self.folder, built=self.built, step=self.step)
        if self.options.trackers:
            self.place.accelerator.init_trackers(self.recipe.name)

    def _close(self, status: str) -> None:
        self.bar.close(self.step)
        if self.place.main:
            try:
                self._flush_terms()
                for log in (self.lines, self.timings):
                    if log is not None:
                        log.flush()
                        log.close()
                self.record.happened(status, self.step, status)
            except OSError:  # the disk is full: what ended the run says so
                pass
        if self.options.trackers:
            for tracker in self.place.accelerator.trackers:
                tracker.finish()
        self.objective.bind(self.roles)
        try:
            self.hooks("run_ended", run=self.folder, step=self.step, status=status)
        except HookError as error:
            if status == "finished":
                raise
            self._say(f"  {error}")  # what ended the run matters more

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            full = checkpoint.disk_full(error, self.folder / "checkpoints", "what was to be logged")
            raise type(full)(f"{full}\n  resume: {self._command()}") from error

    # --- the loop ---

    def _loop(self) -> None:
        steps, log_every, evaluate_every = self.options.steps, self.options.log_every, self.recipe.evaluate.every
        save_every = self.options.checkpoint.every
        self.began = self.last_logged = time.perf_counter()
        self.last_logged_step = self.step
        while self.step < steps:
            index = self.step
            logged = index == 0 or (index + 1) % log_every == 0
            for phase in self.objective.phases(index):
                self._turn(index, phase, logged)
            self.step += 1
            last = self.step == steps
            if logged or self.hears_steps:
                self._step_ended(logged)
            self.bar.step(self.step)
            stop = self._asked_to_stop()
            due = last or (evaluate_every is not None and self.step % evaluate_every == 0)
            if last or stop or self.step % save_every == 0:
                self._save(evaluation_due=due)
            if stop and not last:
                raise Interrupted(f"stopped at step {self.step} and saved.\n  resume: {self._command()}")
            if due:
                self._evaluate()

    def _turn(self, index: int, phase: Phase, logged: bool) -> None:
        """One player's update: batches, loss, gradients, guard, step."""
        player = self.players.get(phase.name) or self._new_player(phase)
        if self.focused != (phase.name, phase.roles):
            self.objective.focus(phase)
            self.focused = (phase.name, phase.roles)
        place, scaler = self.place, self.place.scaler
        done: Done = []
        for micro in range(self.accumulate):
            rng = self._rng(index, phase, place.rank * self.accumulate + micro, self.parts)
            rng.seed_globally()
            batch = self.source.batch(self.rows, rng)
            if place.device.type != "cpu":
                batch = batch.to(place.device)
            silent = self.wrapped and micro < self.accumulate - 1
            with without_sync([self.wrapped[r] for r in phase.roles]) if silent else nullcontext():
                with place.autocast() if place.mixed else nullcontext():
                    loss = self.objective.loss(phase, batch, rng)
                if not loss.value.requires_grad:
                    raise LimbeckError(
                        f"phase '{phase.name}': the loss does not depend on what this phase trains ({phase.roles}). "
                        "Is the network detached, or called through another role?"
                    )
                # averages of parts are averaged; weights that sum to one over the global batch make parts add up
                share = 1.0 / self.accumulate if batch.weight is None else float(place.world)
                value = loss.value * share if share != 1.0 else loss.value
                (scaler.scale(value) if scaler is not None else value).backward()
            done.append((rng, batch, Loss(loss.value.detach(), loss.terms)))
        if scaler is not None:
            scaler.unscale_(player.optimizer)
        gradients = player.gradients()
        norm = gradient_norm(gradients) if gradients else torch.zeros((), device=place.device)
        if not self._all_finite(done, norm, scaler):
            self._not_finite(index, phase, player, done)
            player.clear_gradients()
            if logged:
                self._note(index, phase, player, done, norm, skipped=True)
            return
        self.skips = 0
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
        if logged:
            self._note(index, phase, player, done, norm)

    def _rng(self, index: int, phase: Phase, part: int, parts: int) -> Rng:
        return Rng(self.options.seed, index, phase, part=part, parts=parts, device=self.place.device)

    def _new_player(self, phase: Phase) -> Player:
        player = self.players[phase.name] = Player(phase, self.roles, self.options)
        if phase.name in self.waiting:
            player.load_state_dict(self.waiting.pop(phase.name), f"optimizer-{phase.name}.safetensors")
        return player

    # --- the guard ---

    def _all_finite(self, done: Done, norm: Tensor, scaler: Any) -> bool:
        """One look at the device per update. With loss scaling a gradient that overflows is the scaler's business."""
        total = done[0][2].value if len(done) == 1 else torch.stack([loss.value for _, _, loss in done]).sum()
        if scaler is None:
            total = total + norm
        if self.place.world > 1:
            total = self.place.sum((~torch.isfinite(total)).float())
            return float(total) == 0.0
        return math.isfinite(float(total))

    def _not_finite(self, index: int, phase: Phase, player: Player, done: Done) -> None:
        """Save the evidence and stop, or count the skip."""
        self.skips += 1
        stops = self.options.on_nonfinite == "stop" or self.skips >= MOST_SKIPS
        if not stops and self.skips > 1:
            return
        failure, batch = self._diagnose(index, phase, player, done)
        where = None
        if self.place.main:
            tensors = states.gather(self.objective, self.players, self.waiting, self.ema)
            try:
                where = failures.keep_evidence(self.folder, failure, batch, tensors, {"seed": self.options.seed})
            except OSError as error:
                self._say(f"  (batch and states could not be saved: {error})")
        good = checkpoint.listed(self.folder / "checkpoints")
        message = f"{failure.sentence()}\n"
        if where is not None:
            message += f"  saved: {where} (batch, states). "
        message += f"Last good checkpoint: {good[-1].name if good else 'none yet'}.\n"
        message += f"  {failures.causes(failure, player.lr, self.options)}"
        if not stops:
            self._say(f"  {message}\n  this update is skipped (train.on_nonfinite=skip)")
            return
        if self.skips >= MOST_SKIPS:
            message += f"\n  {MOST_SKIPS} updates in a row were not finite: skipping does not help."
        raise NonFinite(f"{message}\n  resume: {self._command()} train.lr={player.lr / 10:g}")

    def _diagnose(self, index: int, phase: Phase, player: Player, done: Done) -> tuple[failures.Failure, Batch]:
        rng, batch, term = done[-1][0], done[-1][1], None
        for rng_, batch_, loss in done:
            term = failures.failing_term(loss)
            if term is not None:
                rng, batch = rng_, batch_
                break
        by_gradient = term is None
        name, value = term or failures.failing_gradient(player.names, player.parameters)
        self.objective.bind(self.roles)  # one process looks at its own batch: no collective may wait for others

        def is_bad(i: int, one: Batch) -> bool:
            again = self._rng(index, phase, rng.part * len(batch) + i, rng.parts * len(batch))
            with self.place.autocast() if self.place.mixed else nullcontext():
                loss = self.objective.loss(phase, one, again)
            if not by_gradient:
                return failures.failing_term(loss) is not None
            player.clear_gradients()
            loss.value.backward()
            return not math.isfinite(float(gradient_norm(player.gradients())))

        with torch.enable_grad():
            count = failures.bad_rows(batch, is_bad)
        player.clear_gradients()
        if self.wrapped:
            self.objective.bind(self.wrapped)
        data = failures.bad_fields(batch)
        found = failures.Failure(self.step + 1, phase.name, phase.repeat, name, value, count, len(batch), data)
        return found, batch

    # --- logging ---

    def _note(
        self, index: int, phase: Phase, player: Player, done: Done, norm: Tensor, skipped: bool = False
    ) -> None:
        """Keep the scalars of one turn on the device until the step is over."""
        names = ["loss", *done[0][2].terms]
        parts = [torch.stack([v.detach().float().mean() for v in (x.value, *x.terms.values())]) for _, _, x in done]
        sums = torch.stack(parts).sum(0)
        if done[0][1].weight is None:
            sums = sums / self.parts
        line = {"step": index + 1, "phase": phase.name, "repeat": phase.repeat}
        if skipped:
            line["skipped"] = True
        line["lr"] = player.lr_now
        self.terms.append((line, names, torch.cat([self.place.sum(sums), norm.detach().float().reshape(1)])))

    def _flush_terms(self) -> dict[str, float]:
        """Everything noted, to metrics.jsonl in one transfer; the latest values by name."""
        if not self.terms:
            return {}
        numbers = torch.cat([values for _, _, values in self.terms]).tolist()
        latest: dict[str, float] = {}
        for line, names, values in self.terms:
            mine, numbers = numbers[: len(values)], numbers[len(values) :]
            lr = line.pop("lr")
            scalars = {**dict(zip(names, mine, strict=False)), "grad_norm": mine[-1], "lr": lr}
            if self.lines is not None:
                self.lines.add({**line, **scalars})
            latest |= {f"{line['phase']}/{name}": value for name, value in scalars.items()}
        self.terms = []
        self.bar.values({k.removesuffix("/loss"): v for k, v in latest.items() if k.endswith("/loss")})
        return latest

    def _step_ended(self, logged: bool) -> None:
        values = self._flush_terms()
        if logged and self.timings is not None:
            now = time.perf_counter()
            taken = (now - self.last_logged) / max(1, self.step - self.last_logged_step)
            self.timings.add({"step": self.step, "seconds": round(self._seconds(), 4), "step_seconds": round(taken, 6)})
            self.last_logged, self.last_logged_step = now, self.step
        if logged and self.options.trackers:
            self.place.accelerator.log(values, step=self.step)
        self.hooks("step_ended", run=self.folder, step=self.step, values=values)

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.began

    # --- saving, stopping, evaluating ---

    def _save(self, *, evaluation_due: bool) -> None:
        if self.place.main:
            assert self.lines is not None and self.timings is not None
            state: dict[str, Any] = {
                "metrics_bytes": self.lines.flush(sync=True), "timings_bytes": self.timings.flush(),
                "seconds": self._seconds(), "evaluation_due": evaluation_due, "recipe": self._recipe_hash(),
                "ema": [str(decay) for decay in self.options.ema], "ema_updates": self.ema.updates if self.ema else 0,
                "versions": {key: self.record.content["versions"].get(key) for key in ("limbeck", "torch")},
            }  # fmt: skip
            if self.place.scaler is not None:
                state["scaler"] = self.place.scaler.state_dict()
            tensors = states.gather(self.objective, self.players, self.waiting, self.ema)
            kept = self.options.checkpoint.keep
            try:
                path = checkpoint.save(self.folder / "checkpoints", self.step, tensors, state, keep=kept)
            except LimbeckError as error:
                raise type(error)(f"{error}\n  resume: {self._command()}") from error
            self.hooks("checkpoint_saved", run=self.folder, step=self.step, path=path)
        self.place.wait()

    def _recipe_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.recipe.to_dict(), sort_keys=True).encode()).hexdigest()

    def _asked_to_stop(self) -> bool:
        if self.place.world == 1:
            return self.interrupts.asked
        return bool(self.place.sum(torch.tensor(float(self.interrupts.asked), device=self.place.device)) > 0)

    def _evaluate(self) -> None:
        """The student as it would leave now: metrics and a grid, on averaged weights."""
        if self.place.main and self.built.sampler is not None:
            from limbeck import evaluation

            network = self.roles.get("generator", self.built.generator)
            self.bar.doing("evaluating")
            with self._averaged():
                if self.built.metrics:
                    values = evaluation.evaluate_student(self.built, network, seed=self.recipe.evaluate.seed)
                    self._evaluated(values)
                if self.recipe.evaluate.grid:
                    grid = evaluation.grid(self.built, network)
                    evaluation.save_grid(grid, self.folder / "samples" / checkpoint.name_of(self.step))
        self.focused = None
        self.place.wait()

    def _evaluated(self, values: Mapping[str, float]) -> None:
        assert self.lines is not None
        self.lines.add({"step": self.step, "evaluation": dict(values)})
        self.bar.values(values)
        if self.options.trackers:
            self.place.accelerator.log({f"evaluation/{k}": v for k, v in values.items()}, step=self.step)
        self.hooks("evaluated", run=self.folder, step=self.step, values=dict(values))

    def _averaged(self) -> Any:
        return self.ema.applied() if self.ema is not None else nullcontext()

    def _finish(self) -> None:
        """The final table and the report."""
        if not self.place.main:
            return
        assert self.lines is not None and self.timings is not None
        self.lines.flush()
        self.timings.flush()
        if self.recipe.evaluate.compare and self.built.metrics and self.built.sampler is not None:
            from limbeck import evaluation

            network: nn.Module = self.roles.get("generator", self.built.generator)
            self.bar.doing("comparing with the teacher" if self.built.teacher is not None else "measuring")
            with self._averaged():
                evaluation.compare(self.built, network, folder=self.folder)
        self.record.content |= {"status": "finished", "step": self.step}
        self.record.write()
        if self.recipe.report.write:
            self._report()

    def _report(self) -> None:
        try:
            from limbeck import report
            from limbeck.run import Run

            report.write(Run(self.folder, built=self.built))
        except Exception as error:  # the run is finished and saved: a page about it can be written again
            self._say(f"  the run is finished, but its report could not be written ({type(error).__name__}: {error})")
            self._say(f"  again: limbeck report {self.folder}")

    # --- words ---

    def _say(self, message: str) -> None:
        if not self.place.main:
            return
        bar = getattr(self, "bar", None)
        bar.say(message) if bar is not None else Progress("", 1, 0, wanted=False).say(message)

    def _verb(self) -> str:
        return "pretraining" if self.recipe.teacher is None else "distilling"

    def _command(self) -> str:
        what = "pretrain" if self.recipe.teacher is None else "distill"
        return f"limbeck {what} --resume {self.folder}"
