"""What is done about a loss or gradient that is not finite: find out where it came from, keep the evidence."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.engine import checkpoint, tensor_file
from limbeck.files import write_whole
from limbeck.interfaces import Batch, Loss, Phase


@dataclass(frozen=True)
class Failure:
    """One update that must not be made. `term` is a term of the loss, the loss, or the gradient of a parameter."""

    step: int
    phase: Phase
    term: str
    value: float
    bad_samples: int | None  # None: unknown
    batch: Batch

    def sentence(self) -> str:
        samples = len(self.batch)
        many = f"in {self.bad_samples} of {samples} samples" if self.bad_samples else f"(batch of {samples})"
        return f"step {self.step}, phase {self.phase.name}: {self.term} is not finite ({self.value}) {many}."


def failing_term(loss: Loss) -> tuple[str, float] | None:
    """The first named term that is not finite, else the loss itself; None when all are."""
    for name, value in loss.terms.items():
        if not bool(torch.isfinite(value).all()):
            return f"loss '{name}'", float(value.float().mean())
    return None if bool(torch.isfinite(loss.value)) else ("the loss", float(loss.value))


def failing_gradient(names: Sequence[str], parameters: Sequence[Tensor]) -> tuple[str, float]:
    for name, parameter in zip(names, parameters, strict=True):
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name}", float(parameter.grad.float().sum())
    return "the gradient's norm", float("inf")


def row(batch: Batch, index: int) -> Batch:
    """One row of a batch, as a batch."""
    one = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return Batch(**{k: v[index : index + 1] if v is not None else None for k, v in one.items()})


def bad_rows(batch: Batch, is_bad: Callable[[int, Batch], bool], limit: int = 256) -> int | None:
    """How many samples fail by themselves. None when that cannot be known: too many, or a loss of whole batches."""
    if len(batch) > limit:
        return None
    try:
        return sum(is_bad(i, row(batch, i)) for i in range(len(batch))) or None
    except Exception:  # a diagnosis must not hide what it is about
        return None


def bad_fields(batch: Batch) -> tuple[str, ...]:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return tuple(
        name for name, value in values.items() if isinstance(value, Tensor) and not bool(torch.isfinite(value).all())
    )


def keep_evidence(
    folder: Path, failure: Failure, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write batch, states and reason to failures/step-XXXXXX."""
    target = folder / "failures" / checkpoint.name_of(failure.step)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    values = {f.name: getattr(failure.batch, f.name) for f in fields(failure.batch)}
    held = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    checkpoint.write_file(target / "batch.safetensors", tensor_file.pieces(held))
    reason = {
        "step": failure.step, "index": failure.step - 1, "phase": failure.phase.name, "repeat": failure.phase.repeat,
        "term": failure.term, "value": str(failure.value), "bad_samples": failure.bad_samples,
        "samples": len(failure.batch), "not_finite_in_batch": list(bad_fields(failure.batch)), **state,
    }  # fmt: skip
    write_whole(target / "reason.json", json.dumps(reason, indent=2) + "\n")
    for stem, content in tensors.items():
        checkpoint.write_file(target / f"{stem}.safetensors", tensor_file.pieces(content))
    return target


def message(failure: Failure, kept: Path | None, last_good: str, lr: float, train: Any) -> str:
    """What happened, where the evidence is, and what it may have been."""
    saved = f"saved: {kept} (batch, states). " if kept is not None else ""
    return f"{failure.sentence()}\n  {saved}Last good checkpoint: {last_good}.\n  {causes(failure, lr, train)}"


def causes(failure: Failure, lr: float, train: Any) -> str:
    """What it may have been, the likeliest first."""
    data = bad_fields(failure.batch)
    if data:
        return f"cause: the batch itself is not finite ({', '.join(data)}). Look at the data."
    found = [f"learning rate {lr:g}"]
    if train.clip is None:
        found.append("no gradient clipping (train.clip=1.0)")
    if train.precision != "no":
        found.append(f"precision {train.precision} (train.precision=no)")
    return f"common causes: {'; '.join(found)}."
