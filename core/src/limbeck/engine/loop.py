"""The loop: for every step, every phase that the objective names.

A step n (from 1, as logs and folders count) is index n - 1 of `objective.phases(index)` and `Rng(seed, index, phase)`.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.engine import checkpoint, failures, states
from limbeck.engine.distributed import Distributed, shard_teacher, wrap_roles
from limbeck.engine.ema import EMA
from limbeck.engine.interrupt import Interrupts
from limbeck.engine.metrics_log import JsonLines, MetricBuffer, by_name
from limbeck.engine.progress import Progress
from limbeck.engine.run_record import RunRecord, differences
from limbeck.engine.updates import MOST_SKIPS, Update, Updates
from limbeck.errors import HookError, Interrupted, LimbeckError, NonFinite, RecipeError, RunExists, did_you_mean
from limbeck.networks.sharding import is_sharded, plain_copy


def train(built: Any, run_folder: str | os.PathLike, *, resume: bool = False, progress: bool = True) -> None:
    """Run a built recipe to its last step, in a folder of its own.

    Args:
        built: a `limbeck.runs.build.Built`.
        run_folder: receives metrics, checkpoints, samples, and the final table and report.
        resume: go on from the last good checkpoint there, or from the start if there is none yet.
        progress: draw a bar when standard error is a terminal.
    """
    _Training(built, Path(run_folder), resume, progress).run()


class _Training:
    """One run of the engine. `step` is the number of steps taken."""

    def __init__(self, built: Any, folder: Path, resume: bool, progress: bool):
        self.built, self.recipe, self.objective = built, built.recipe, built.objective
        self.options = built.recipe.train
        self.folder, self.resume, self.wants_progress = folder, resume, progress
        self.step = self.start = 0
        self.seconds_before = 0.0

    # --- around the loop ---

    def run(self) -> None:
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        self.distributed = Distributed(self.options.precision, self.options.trackers, self.folder)
        self._check_batch_size()
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
        self.bar = Progress(
            self._verb(), self.options.steps, self.step, wanted=self.wants_progress and self.distributed.main
        )
        status = "failed"
        try:
            with Interrupts(self._say) as self.interrupts, self._full_disk():
                self._start_hooks()
                if found is not None and found.state.get("evaluation_due"):
                    self._evaluate()
                elif found is None and self.recipe.evaluate.every is not None:
                    self._grid()  # what the student can do before it has learnt anything
                self._loop()
                self._finish()
            status = "finished"
        except Interrupted:
            status = "interrupted"
            raise
        except KeyboardInterrupt as error:
            status = "interrupted"
            if not self.interrupts.all_saved:
                raise
            raise Interrupted(
                f"all {self.step} steps are done and saved; evaluation and report are not.\n"
                f"  they follow with: {self._command()}"
            ) from error
        finally:
            self._close(status)

    def _check_batch_size(self) -> None:
        parts = self.distributed.world * self.options.accumulate
        if self.options.batch_size % parts:
            raise RecipeError(
                f"train.batch_size {self.options.batch_size} cannot be split evenly into {parts} parts "
                f"({self.distributed.world} processes x {self.options.accumulate} micro-batches). "
                f"Use a multiple of {parts}"
            )

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
        self.distributed.wait()
        if not self.distributed.main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.clean(checkpoints)
        if self.resume and written.is_file():
            from limbeck.recipe.text import read

            self.changes = differences(read(written)[0], self.recipe.to_dict())
        aside = written.with_name("recipe.yaml.part")
        aside.write_text(self.recipe.to_yaml(), encoding="utf-8")
        os.replace(aside, written)

    def _prepare(self) -> None:
        """Networks on the device, wrapped; averages."""
        built, distributed = self.built, self.distributed
        if built.teacher is not None:
            built.teacher.to(distributed.device)
        self.wrapped = wrap_roles(self.objective, distributed, self._parallel(), built.teacher)
        self.roles = self.objective.roles()
        self.spread = any(is_sharded(module) for module in self.wrapped.values())
        if built.teacher is not None and self.spread and self.options.shard_teacher:
            shard_teacher(built.teacher, self.objective, distributed)
        if self.options.compile:
            for module in (*self.roles.values(), *([built.teacher] if built.teacher is not None else [])):
                module.compile()
        self.ema: EMA | None = None
        if self.options.ema:
            if "generator" not in self.roles:
                raise RecipeError(f"train.ema averages role 'generator'; the objective has only {sorted(self.roles)}")
            self.ema = EMA(self.roles["generator"], self.options.ema)
        self.updates = Updates(
            self.objective,
            built.source,
            self.options,
            distributed,
            wrapped=self.wrapped,
            ema=self.ema,
            teacher=built.teacher,
        )

    def _parallel(self) -> str:
        """`train.parallel`, which says nothing to a single process."""
        chosen = self.options.parallel
        if chosen == "fully_shard" and self.options.precision == "fp16" and self.distributed.world > 1:
            raise RecipeError(
                "train.parallel: fully_shard does not scale losses for fp16. Use train.precision: bf16, or "
                "train.parallel: ddp"
            )
        return chosen

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
        self.updates.waiting = states.give_back(found, self.objective, self.ema)
        if self.distributed.scaler is not None and found.state.get("scaler"):
            self.distributed.scaler.load_state_dict(found.state["scaler"])
        self.step = self.start = found.step
        self.distributed.wait()
        if self.distributed.main:
            checkpoint.set_aside_newer(folder, found.step)
        return found

    def _open_logs(self, state: Mapping[str, Any]) -> None:
        self.lines = self.timings = None
        self.buffer = MetricBuffer(self.distributed)
        self.seconds_before = float(state.get("seconds", 0.0))
        if not self.distributed.main:
            return
        fresh = not self.resume
        self.lines = JsonLines(self.folder / "metrics.jsonl", None if fresh else state.get("metrics_bytes", 0))
        self.timings = JsonLines(self.folder / "timings.jsonl", None if fresh else state.get("timings_bytes", 0))
        if not self.lines.complete:
            self._say("  metrics.jsonl is shorter than when the checkpoint was saved: earlier lines are lost")
        self.record.start(self.recipe, self.distributed.world)
        self.record.content["domain"] = self.built.space.domain
        event = "resumed" if self.resume and self.step else "started"
        self.record.happened(event, self.step, "running", **({"changes": self.changes} if self.changes else {}))

    def _start_hooks(self) -> None:
        """Hooks of plugins and callbacks; of the main process only, like everything that writes."""
        from limbeck.plugins.hooks import Hooks

        self.hooks = Hooks(self.built.callbacks) if self.distributed.main else Hooks((), plugins=())
        self.hears_steps = bool(self.hooks.implementations("step_ended"))
        self.hooks("run_started", run=self.folder, built=self.built, step=self.step)
        if self.options.trackers:
            self.distributed.accelerator.init_trackers(self.recipe.name)

    def _close(self, status: str) -> None:
        self.bar.close(self.step)
        if self.distributed.main:
            try:
                self._write_notes()
                for log in (self.lines, self.timings):
                    if log is not None:
                        log.flush()
                        log.close()
                self.record.happened(status, self.step, status)
            except OSError:  # the disk is full: what ended the run says so
                pass
        if self.options.trackers:
            for tracker in self.distributed.accelerator.trackers:
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
            self.updates.begin(index)
            for phase in self.objective.phases(index):
                turn = self.updates.make(index, phase)
                if turn.failure is not None:
                    self._report_failure(turn, turn.failure)
                if logged:
                    self.buffer.add(index + 1, turn)
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
            self.interrupts.all_saved = last
            if stop:
                raise KeyboardInterrupt
            if due:
                self._evaluate()

    # --- the guard ---

    def _report_failure(self, turn: Update, failure: failures.Failure) -> None:
        """Save the evidence, then stop, or say that the update is skipped."""
        where, tensors = None, {}
        if self.distributed.main or self.spread:
            tensors = states.unsharded(self._states(), keep=self.distributed.main)
        if self.distributed.main:
            try:
                where = failures.keep_evidence(self.folder, failure, tensors, {"seed": self.options.seed})
            except OSError as error:
                self._say(f"  (batch and states could not be saved: {error})")
        good = checkpoint.listed(self.folder / "checkpoints")
        saved = f"saved: {where} (batch, states). " if where is not None else ""
        message = (
            f"{failure.sentence()}\n  {saved}Last good checkpoint: {good[-1].name if good else 'none yet'}.\n"
            f"  {failures.causes(failure, turn.optimizer.lr, self.options)}"
        )
        if self.options.on_nonfinite == "skip":
            if turn.optimizer.skips < MOST_SKIPS:
                self._say(f"  {message}\n  this update is skipped (train.on_nonfinite=skip)")
                return
            message += f"\n  {MOST_SKIPS} updates of phase {failure.phase.name} in a row were not finite: "
            message += "skipping does not help."
        raise NonFinite(f"{message}\n  resume: {self._command()} train.lr={turn.optimizer.lr / 10:g}")

    # --- logging ---

    def _write_notes(self) -> dict[str, float]:
        """What was noted, to metrics.jsonl; the latest values by name."""
        lines = self.buffer.take()
        if self.lines is not None:
            for line in lines:
                self.lines.add(line)
        values = by_name(lines)
        if values:
            self.bar.values({k.removesuffix("/loss"): v for k, v in values.items() if k.endswith("/loss")})
        return values

    def _step_ended(self, logged: bool) -> None:
        values = self._write_notes()
        if logged and self.timings is not None:
            now = time.perf_counter()
            taken = (now - self.last_logged) / max(1, self.step - self.last_logged_step)
            self.timings.add({"step": self.step, "seconds": round(self._seconds(), 4), "step_seconds": round(taken, 6)})
            self.last_logged, self.last_logged_step = now, self.step
        if logged and self.options.trackers:
            self.distributed.accelerator.log(values, step=self.step)
        self.hooks("step_ended", run=self.folder, step=self.step, values=values)

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.began

    # --- saving, stopping, evaluating ---

    def _states(self) -> dict[str, Mapping[str, Tensor]]:
        return states.gather(self.objective, self.updates.optimizers, self.updates.waiting, self.ema)

    def _save(self, *, evaluation_due: bool) -> None:
        """Written by the main process; of what is spread, every process writes its part."""
        state: dict[str, Any] = {}
        if self.distributed.main:
            assert self.lines is not None and self.timings is not None
            state = {
                "metrics_bytes": self.lines.flush(sync=True), "timings_bytes": self.timings.flush(),
                "seconds": self._seconds(), "evaluation_due": evaluation_due, "recipe": self._recipe_hash(),
                "ema": [str(decay) for decay in self.options.ema], "ema_updates": self.ema.updates if self.ema else 0,
                "versions": {key: self.record.content["versions"].get(key) for key in ("limbeck", "torch")},
            }  # fmt: skip
            if self.distributed.scaler is not None:
                state["scaler"] = self.distributed.scaler.state_dict()
        if self.distributed.main or self.spread:
            folder, kept = self.folder / "checkpoints", self.options.checkpoint.keep
            ranks = self.distributed if self.spread else None
            try:
                path = checkpoint.save(folder, self.step, self._states(), state, keep=kept, ranks=ranks)
            except LimbeckError as error:
                raise type(error)(f"{error}\n  resume: {self._command()}") from error
            self.hooks("checkpoint_saved", run=self.folder, step=self.step, path=path)
        self.distributed.wait()

    def _recipe_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.recipe.to_dict(), sort_keys=True).encode()).hexdigest()

    def _asked_to_stop(self) -> bool:
        if self.distributed.world == 1:
            return self.interrupts.asked
        return bool(
            self.distributed.sum(torch.tensor(float(self.interrupts.asked), device=self.distributed.device)) > 0
        )

    def _evaluate(self) -> None:
        """The student as it would leave now: metrics and a grid, on averaged weights."""
        self.bar.doing("evaluating")
        self._look(measure=bool(self.built.metrics), draw=bool(self.recipe.evaluate.grid))

    def _grid(self) -> None:
        """Samples of the student as it would leave now, for people to look at."""
        self._look(measure=False, draw=bool(self.recipe.evaluate.grid))

    def _look(self, *, measure: bool, draw: bool) -> None:
        if self.built.sampler is not None and (measure or draw):
            from limbeck import evaluation

            with self._shown() as built:
                if built is not None and measure:
                    values = evaluation.evaluate_student(built, built.generator, seed=self.recipe.evaluate.seed)
                    self._evaluated(values)
                if built is not None and draw:
                    grid = evaluation.grid(built, built.generator)
                    evaluation.save_grid(grid, self.folder / "samples" / checkpoint.name_of(self.step))
        self.updates.focused = None  # whatever was done to the networks meanwhile
        self.distributed.wait()

    @contextmanager
    def _shown(self) -> Iterator[Any]:
        """What is built, with the student on averaged weights, in the main process; None in the others. The main
        process works alone inside, so it gets copies of networks that are spread over all."""
        network, main = self.roles.get("generator", self.built.generator), self.distributed.main
        if not self.spread:
            with self.ema.applied() if main and self.ema is not None else nullcontext():
                yield replace(self.built, generator=network) if main else None
            return
        average = self.ema.state_dict(self.ema.decays[0]) if self.ema is not None else None
        shown = plain_copy(network, average, keep=main)
        teacher: Any = self.built.teacher
        if teacher is not None and is_sharded(teacher):
            teacher = plain_copy(teacher, keep=main)
        yield replace(self.built, generator=shown, teacher=teacher) if main else None

    def _evaluated(self, values: Mapping[str, float]) -> None:
        assert self.lines is not None
        self.lines.add({"step": self.step, "evaluation": dict(values)})
        self.bar.values(dict(list(values.items())[:1]))  # the primary metric; the others are in the log
        if self.options.trackers:
            self.distributed.accelerator.log({f"evaluation/{k}": v for k, v in values.items()}, step=self.step)
        self.hooks("evaluated", run=self.folder, step=self.step, values=dict(values))

    def _finish(self) -> None:
        """The final table and the report."""
        compares = self.recipe.evaluate.compare and self.built.metrics and self.built.sampler is not None
        if self.distributed.main:
            assert self.lines is not None and self.timings is not None
            self.lines.flush()
            self.timings.flush()
        if compares and (self.distributed.main or self.spread):
            from limbeck import evaluation

            self.bar.doing("comparing with the teacher" if self.built.teacher is not None else "measuring")
            with self._shown() as built:
                if built is not None:
                    evaluation.compare(built, built.generator, folder=self.folder)
        if self.spread:  # who samples or exports after the run has a whole student
            self.built.generator = plain_copy(self.roles.get("generator", self.built.generator))
        if not self.distributed.main:
            return
        self.record.content |= {"status": "finished", "step": self.step}
        self.record.write()
        self._export()
        if self.recipe.report.write:
            self._report()

    def _export(self) -> None:
        """The exports that the recipe asks for, into exports/NAME. One that fails costs a line, not the run."""
        from limbeck.runs.run import Run

        for block in self.recipe.export:
            target = self.folder / "exports" / block.use.rpartition("/")[2]
            self.bar.doing(f"exporting {block.use}")
            shutil.rmtree(target, ignore_errors=True)
            try:
                Run(self.folder, built=self.built).export(block.use, target, **block.options)
            except (LimbeckError, OSError, ImportError, ValueError) as error:
                self._say(f"  export {block.use} failed: {error}")
                self._say(f"  again: limbeck export {self.folder} --to {block.use} DIR")

    def _report(self) -> None:
        try:
            from limbeck import report
            from limbeck.runs.run import Run

            report.write(Run(self.folder, built=self.built))
        except Exception as error:  # the run is finished and saved: a page about it can be written again
            self._say(f"  the run is finished, but its report could not be written ({type(error).__name__}: {error})")
            self._say(f"  again: limbeck report {self.folder}")

    # --- words ---

    def _say(self, message: str) -> None:
        if not self.distributed.main:
            return
        bar = getattr(self, "bar", None)
        bar.say(message) if bar is not None else Progress("", 1, 0, wanted=False).say(message)

    def _verb(self) -> str:
        return "pretraining" if self.recipe.teacher is None else "distilling"

    def _command(self) -> str:
        what = "pretrain" if self.recipe.teacher is None else "distill"
        return f"limbeck {what} --resume {self.folder}"
