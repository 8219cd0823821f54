"""metrics.jsonl (a function of the recipe, bit by bit) and timings.jsonl (how long it took)."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.engine.distributed import Distributed
from limbeck.engine.updates import Update
from limbeck.files import finite


class JsonLines:
    """A JSON-lines file that is appended to, and cut back to a checkpoint's offset on resume."""

    def __init__(self, path: Path, offset: int | None = None):
        """`offset` None starts a new file."""
        self.path = path
        self.complete = True
        if offset is None:
            self._file = open(path, "wb")  # noqa: SIM115 (closed by close)
        else:
            path.touch()
            self.complete = path.stat().st_size >= offset
            os.truncate(path, min(offset, path.stat().st_size))
            self._file = open(path, "ab")  # noqa: SIM115

    def add(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(finite(line), allow_nan=False).encode() + b"\n")

    def flush(self, *, sync: bool = False) -> int:
        """Hand everything to the file system; the file's size."""
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


class MetricBuffer:
    """Scalars of the updates of a step, kept on the device until they are read in one transfer."""

    def __init__(self, distributed: Distributed):
        self.distributed = distributed
        self._kept: list[tuple[dict[str, Any], list[str], Tensor]] = []

    def add(self, step: int, update: Update) -> None:
        """Loss and terms, averaged over micro-batches and processes as gradients are; every process has to call it."""
        names = ["loss", *update.micro_batches[0].loss.terms]
        scalars = torch.stack([self._scalars(update, i) for i in range(len(update.micro_batches))])
        counts = [micro.loss.count for micro in update.micro_batches if micro.loss.count is not None]
        if counts:
            items = torch.stack([count.detach().float() for count in counts])
            sums = (scalars * items[:, None]).sum(0) / self.distributed.sum(items.sum())
        else:
            sums = scalars.sum(0)
            if update.micro_batches[0].batch.weight is None:
                sums = sums / (self.distributed.world * len(update.micro_batches))
        line: dict[str, Any] = {"step": step, "phase": update.phase.name, "repeat": update.phase.repeat}
        if update.skipped:
            line["skipped"] = True
        values = torch.cat([self.distributed.sum(sums), update.norm.detach().float().reshape(1)])
        self._kept.append((line | {"lr": update.optimizer.lr_now}, names, values))

    def _scalars(self, update: Update, micro: int) -> Tensor:
        loss = update.micro_batches[micro].loss
        values = (torch.as_tensor(value).detach().float().mean() for value in (loss.value, *loss.terms.values()))
        return torch.stack([value.to(self.distributed.device) for value in values])

    def take(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl for everything added."""
        if not self._kept:
            return []
        numbers = torch.cat([values for _, _, values in self._kept]).tolist()
        lines = []
        for line, names, values in self._kept:
            mine, numbers = numbers[: len(values)], numbers[len(values) :]
            lr = line.pop("lr")
            lines.append({**line, **dict(zip(names, mine, strict=False)), "grad_norm": mine[-1], "lr": lr})
        self._kept = []
        return lines


def by_name(lines: list[dict[str, Any]]) -> dict[str, float]:
    """{'critic/loss': ...}: the last value of every scalar of a step, for hooks, trackers and the bar."""
    labels = ("step", "phase", "repeat", "skipped")
    return {f"{line['phase']}/{key}": value for line in lines for key, value in line.items() if key not in labels}


class StepTimes:
    """Seconds since a run began, those before it was resumed included, and seconds per step between lines."""

    def __init__(self, before: float, step: int):
        self.before, self.began = before, time.perf_counter()
        self._last, self._last_step = self.began, step

    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def line(self, step: int) -> dict[str, float]:
        """The line of timings.jsonl after `step` steps."""
        now = time.perf_counter()
        per_step = (now - self._last) / max(1, step - self._last_step)
        self._last, self._last_step = now, step
        return {"step": step, "seconds": round(self.seconds(), 4), "step_seconds": round(per_step, 6)}
