"""The loop: for every step, every phase that the objective names.

A step n (from 1, as logs and folders count) is index n - 1 of `objective.phases(index)` and `Rng(seed, index, phase)`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck import evaluation
from limbeck.engine import checkpoint, failures, states
from limbeck.engine.checks import check_options
from limbeck.engine.distributed import Distributed
from limbeck.engine.folder import RunFolder
from limbeck.engine.interrupt import Interrupts
from limbeck.engine.metrics_log import MetricBuffer, StepTimes, by_name
from limbeck.engine.progress import Progress
from limbeck.engine.roles import Roles
from limbeck.engine.updates import MOST_SKIPS, Update, Updates
from limbeck.errors import HookError, Interrupted, LimbeckError, NonFinite
from limbeck.plugins.hooks import Hooks
from limbeck.plugins.registry import registry


class Training:
    """One run of the engine: `with training.session(): training.train()`. `step` is the number of steps taken."""

    def __init__(self, built: Any, folder: Path, *, resume: bool = False, progress: bool = True):
        """Open the folder, put networks where they belong, and go back to the last good checkpoint.

        Args:
            built: a `limbeck.runs.build.Built`.
            folder: receives metrics, checkpoints and samples.
            resume: go on from the last good checkpoint there, or from the start if there is none yet.
            progress: draw a bar when standard error is a terminal.
        """
        self.built, self.recipe, self.objective = built, built.recipe, built.objective
        self.options = built.recipe.train
        self.step = 0
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        self.distributed = Distributed(self.options.precision, self.options.trackers, folder)
        self.wants_progress = progress and self.distributed.main
        self.bar = Progress("", 1, 0, wanted=False)
        self.interrupts = Interrupts(self.say)
        check_options(self.options, self.objective, self.distributed)
        self.folder = RunFolder(folder, self.recipe, self.distributed, resume=resume)
        self.roles = Roles(built, self.options, self.distributed)
        self.updates = Updates(
            self.objective,
            built.source,
            self.options,
            self.distributed,
            wrapped=self.roles.wrapped,
            ema=self.roles.ema,
            teacher=built.teacher,
        )
        self.buffer = MetricBuffer(self.distributed)
        self.restored = self._restore() if resume else None

    @property
    def finished(self) -> bool:
        """Whether the run came to its end before, so that nothing is left to do."""
        return self.step >= self.options.steps and self.folder.finished

    def say(self, message: str) -> None:
        """A line for whoever started the run."""
        if self.distributed.main:
            self.bar.say(message)

    # --- around the steps ---

    def _restore(self) -> checkpoint.Checkpoint | None:
        found, refused = checkpoint.last_good(self.folder.checkpoints)
        for error in refused:
            self.say(f"  refused: {error}")
        if found is None:
            self.say(f"  no checkpoint in {self.folder.path} yet: starting from step 0")
            return None
        if refused:
            self.say(f"  going on from the last good one, {found.path.name}")
        self.updates.waiting = states.give_back(found, self.objective, self.roles.ema)
        if self.distributed.scaler is not None and found.state.get("scaler"):
            self.distributed.scaler.load_state_dict(found.state["scaler"])
        self.step = found.step
        self.distributed.wait()
        if self.distributed.main:
            checkpoint.set_aside_newer(self.folder.checkpoints, found.step)
        return found

    @contextmanager
    def session(self) -> Iterator[None]:
        """Logs, hooks, signals and the bar, around the steps and what follows them; how it ended goes to the record."""
        state = self.restored.state if self.restored is not None else {}
        if not self.folder.open_logs(state, self.step, self.built.space.domain):
            self.say("  metrics.jsonl is shorter than when the checkpoint was saved: earlier lines are lost")
        # hooks are called in the main process only, like everything that writes
        main = self.distributed.main
        self.hooks = Hooks(self.built.callbacks if main else (), plugins=registry.implementations() if main else ())
        verb = "pretraining" if self.recipe.teacher is None else "distilling"
        self.bar = Progress(verb, self.options.steps, self.step, wanted=self.wants_progress)
        status = "failed"
        try:
            with self.interrupts, self.folder.full_disk_explained():
                self.hooks("run_started", run=self.folder.path, built=self.built, step=self.step)
                if self.options.trackers:
                    self.distributed.accelerator.init_trackers(self.recipe.name)
                yield
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
                f"  they follow with: {self.folder.command}"
            ) from error
        finally:
            self._close(status)

    def _close(self, status: str) -> None:
        self.bar.close(self.step)
        if self.distributed.main:
            try:
                self._write_metrics()
                self.folder.close(self.step, status)
            except OSError:  # the disk is full: what ended the run has the message
                pass
        if self.options.trackers:
            for tracker in self.distributed.accelerator.trackers:
                tracker.finish()
        self.objective.bind(self.roles.bare)
        try:
            self.hooks("run_ended", run=self.folder.path, step=self.step, status=status)
        except HookError as error:
            if status == "finished":
                raise
            self.say(f"  {error}")  # what ended the run matters more

    # --- the loop ---

    def train(self) -> None:
        """Every step that is left, with the evaluations and checkpoints on the way."""
        if self.restored is not None and self.restored.state.get("evaluation_due"):
            self._evaluate()
        elif self.restored is None and self.recipe.evaluate.every is not None:
            self._look(measure=False)  # what the student can do before it has learnt anything
        before = float(self.restored.state.get("seconds", 0.0)) if self.restored is not None else 0.0
        self.times = StepTimes(before, self.step)
        while self.step < self.options.steps:
            self._step()

    def _step(self) -> None:
        index, steps, evaluate_every = self.step, self.options.steps, self.recipe.evaluate.every
        logged = index == 0 or (index + 1) % self.options.log_every == 0
        self.updates.begin(index)
        for phase in self.objective.phases(index):
            update = self.updates.make(index, phase)
            if update.failure is not None:
                self._report_failure(update, update.failure)
            if logged:
                self.buffer.add(index + 1, update)
        self.step += 1
        last = self.step == steps
        if logged or self.hooks.implementations("step_ended"):
            self._step_ended(logged)
        self.bar.step(self.step)
        stop = self._asked_to_stop()
        due = last or (evaluate_every is not None and self.step % evaluate_every == 0)
        if last or stop or self.step % self.options.checkpoint.every == 0:
            self._save(evaluation_due=due)
        if stop and not last:
            raise Interrupted(f"stopped at step {self.step} and saved.\n  resume: {self.folder.command}")
        self.interrupts.all_saved = last
        if stop:
            raise KeyboardInterrupt
        if due:
            self._evaluate()

    def _asked_to_stop(self) -> bool:
        if self.distributed.world == 1:
            return self.interrupts.asked
        asked = torch.tensor(float(self.interrupts.asked), device=self.distributed.device)
        return bool(self.distributed.sum(asked) > 0)

    # --- the guard ---

    def _report_failure(self, update: Update, failure: failures.Failure) -> None:
        """Save the evidence, then stop, or print that the update is skipped."""
        kept, tensors = None, {}
        if self.distributed.main or self.roles.spread:
            tensors = states.unsharded(self._states(), keep=self.distributed.main)
        if self.distributed.main:
            try:
                kept = failures.keep_evidence(self.folder.path, failure, tensors, {"seed": self.options.seed})
            except OSError as error:
                self.say(f"  (batch and states could not be saved: {error})")
        lr = update.optimizer.lr
        message = failures.message(failure, kept, self.folder.last_good(), lr, self.options)
        if self.options.on_nonfinite == "skip":
            if update.optimizer.skips < MOST_SKIPS:
                self.say(f"  {message}\n  this update is skipped (train.on_nonfinite=skip)")
                return
            message += f"\n  {MOST_SKIPS} updates of phase {failure.phase.name} in a row were not finite: "
            message += "skipping does not help."
        raise NonFinite(f"{message}\n  resume: {self.folder.command} train.lr={lr / 10:g}")

    # --- logging ---

    def _write_metrics(self) -> dict[str, float]:
        """What was measured, to metrics.jsonl; the latest values by name."""
        lines = self.buffer.take()
        if self.folder.lines is not None:
            for line in lines:
                self.folder.lines.add(line)
        values = by_name(lines)
        if values:
            self.bar.values({k.removesuffix("/loss"): v for k, v in values.items() if k.endswith("/loss")})
        return values

    def _step_ended(self, logged: bool) -> None:
        values = self._write_metrics()
        if logged and self.folder.timings is not None:
            self.folder.timings.add(self.times.line(self.step))
        if logged and self.options.trackers:
            self.distributed.accelerator.log(values, step=self.step)
        self.hooks("step_ended", run=self.folder.path, step=self.step, values=values)

    # --- saving ---

    def _states(self) -> dict[str, Mapping[str, Tensor]]:
        return states.gather(self.objective, self.updates.optimizers, self.updates.waiting, self.roles.ema)

    def _save(self, *, evaluation_due: bool) -> None:
        """Written by the main process; of what is spread, every process writes its part."""
        if self.distributed.main or self.roles.spread:
            state = self._progress(evaluation_due) if self.distributed.main else {}
            folder, kept = self.folder.checkpoints, self.options.checkpoint.keep
            ranks = self.distributed if self.roles.spread else None
            try:
                path = checkpoint.save(folder, self.step, self._states(), state, keep=kept, ranks=ranks)
            except LimbeckError as error:
                raise type(error)(f"{error}\n  resume: {self.folder.command}") from error
            self.hooks("checkpoint_saved", run=self.folder.path, step=self.step, path=path)
        self.distributed.wait()

    def _progress(self, evaluation_due: bool) -> dict[str, Any]:
        """state.json of a checkpoint: how far the run has come, and of what."""
        recipe = json.dumps(self.recipe.to_dict(), sort_keys=True).encode()
        ema, versions = self.roles.ema, self.folder.record.content["versions"]
        state = {
            **self.folder.flush(sync=True), "seconds": self.times.seconds(), "evaluation_due": evaluation_due,
            "recipe": hashlib.sha256(recipe).hexdigest(), "ema": [str(decay) for decay in self.options.ema],
            "ema_updates": ema.updates if ema is not None else 0,
            "versions": {key: versions.get(key) for key in ("limbeck", "torch")},
        }  # fmt: skip
        if self.distributed.scaler is not None:
            state["scaler"] = self.distributed.scaler.state_dict()
        return state

    # --- evaluating ---

    def _evaluate(self) -> None:
        """The student as it would leave now: metrics and a grid, on averaged weights."""
        self.bar.doing("evaluating")
        self._look(measure=bool(self.built.metrics))

    def _look(self, *, measure: bool) -> None:
        """Measure the student, and draw a grid of samples for people to look at."""
        draw = bool(self.recipe.evaluate.grid)
        if self.built.sampler is not None and (measure or draw):
            with self.roles.shown() as built:
                if built is not None and measure:
                    values = evaluation.evaluate_student(built, built.generator, seed=self.recipe.evaluate.seed)
                    self._evaluated(values)
                if built is not None and draw:
                    grid = evaluation.grid(built, built.generator)
                    evaluation.save_grid(grid, self.folder.path / "samples" / checkpoint.name_of(self.step))
        self.updates.focused = None  # whatever was done to the networks meanwhile
        self.distributed.wait()

    def _evaluated(self, values: Mapping[str, float]) -> None:
        if self.folder.lines is not None:
            self.folder.lines.add({"step": self.step, "evaluation": dict(values)})
        self.bar.values(dict(list(values.items())[:1]))  # the primary metric; the others are in the log
        if self.options.trackers:
            self.distributed.accelerator.log({f"evaluation/{k}": v for k, v in values.items()}, step=self.step)
        self.hooks("evaluated", run=self.folder.path, step=self.step, values=dict(values))
