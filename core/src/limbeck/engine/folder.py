"""The folder of a run while it is written: its recipe, its record, its logs. (Checkpoints: `checkpoint`.)"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.engine import checkpoint
from limbeck.engine.distributed import Distributed
from limbeck.engine.metrics_log import JsonLines
from limbeck.engine.run_record import RunRecord
from limbeck.errors import RunExists
from limbeck.files import write_whole
from limbeck.recipe.stored import differences
from limbeck.recipe.text import read


class RunFolder:
    """Written by the main process alone: in the others `lines` and `timings` are None, and nothing is written."""

    def __init__(self, path: Path, recipe: Any, distributed: Distributed, *, resume: bool):
        """Refuse a folder in use; note what changed since it was made."""
        self.path, self.recipe, self.resume = path, recipe, resume
        self.main, self.world = distributed.main, distributed.world
        self.record = RunRecord(path)
        self.record.read()
        self.lines: JsonLines | None = None
        self.timings: JsonLines | None = None
        self.changes: dict[str, Any] = {}
        if not resume and (self.record.content or checkpoint.listed(self.checkpoints)):
            raise RunExists(
                f"{path} already holds a run. Go on with it (resume=True, --resume), or start over (--overwrite)"
            )
        distributed.wait()
        if self.main:
            self._write_recipe(path / "recipe.yaml")

    def _write_recipe(self, target: Path) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        checkpoint.clean(self.checkpoints)
        if self.resume and target.is_file():
            self.changes = differences(read(target)[0], self.recipe.to_dict())
        write_whole(target, self.recipe.to_yaml())

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether a run has come to its end here."""
        return self.record.content.get("status") == "finished"

    @property
    def command(self) -> str:
        """What goes on with the run."""
        return f"limbeck {'pretrain' if self.recipe.teacher is None else 'distill'} --resume {self.path}"

    def last_good(self) -> str:
        good = checkpoint.listed(self.checkpoints)
        return good[-1].name if good else "none yet"

    # --- while it is written ---

    def open_logs(self, state: Mapping[str, Any], step: int, domain: str) -> bool:
        """Open the logs, cut back to where the checkpoint of that `state` left them; whether they reach that far."""
        if not self.main:
            return True
        fresh = not self.resume
        self.lines = JsonLines(self.path / "metrics.jsonl", None if fresh else state.get("metrics_bytes", 0))
        self.timings = JsonLines(self.path / "timings.jsonl", None if fresh else state.get("timings_bytes", 0))
        self.record.start(self.recipe, self.world)
        self.record.content["domain"] = domain
        event = "resumed" if self.resume and step else "started"
        self.record.happened(event, step, "running", **({"changes": self.changes} if self.changes else {}))
        return self.lines.complete

    def flush(self, *, sync: bool = False) -> dict[str, int]:
        """Hand the logs to the file system; their sizes, for the state of a checkpoint."""
        if self.lines is None or self.timings is None:
            return {}
        return {"metrics_bytes": self.lines.flush(sync=sync), "timings_bytes": self.timings.flush()}

    def mark_finished(self, step: int) -> None:
        """In the record, before what is made from a finished run; the history follows when it is closed."""
        self.record.content |= {"status": "finished", "step": step}
        self.record.write()

    def close(self, step: int, status: str) -> None:
        for log in (self.lines, self.timings):
            if log is not None:
                log.flush()
                log.close()
        if self.main:
            self.record.happened(status, step, status)

    @contextmanager
    def full_disk_explained(self) -> Iterator[None]:
        """An OSError for want of space, as the advice of a CheckpointError."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            full = checkpoint.disk_full(error, self.checkpoints, "what was to be logged")
            raise type(full)(f"{full}\n  resume: {self.command}") from error
