"""Devices, processes and precision: accelerate's for launch and collectives, torch's own wrappers around roles.

DDP is applied per role here; another wrapper (FSDP2's `fully_shard`) would take the place of `wrap_roles`, of
`state_dict` in `states` and of `gradient_norm` in `optimizers`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limbeck.errors import LimbeckError, RecipeError, did_you_mean
from limbeck.interfaces import Objective


class Place:
    """Where this process computes and who its peers are."""

    def __init__(self, precision: str = "no", trackers: Sequence[str] = (), folder: Path | None = None):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        check_trackers(trackers)
        # precision belongs to a run, and accelerate remembers it for the whole Python process
        AcceleratorState._reset_state()
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        # without a GPU accelerate takes every launched process for a run of its own unless it is told
        on_cpu = launched > 1 and not torch.accelerator.is_available()
        self.accelerator = Accelerator(
            cpu=on_cpu, mixed_precision=precision, log_with=list(trackers) or None, project_dir=folder
        )
        if self.accelerator.num_processes != launched:
            raise LimbeckError(
                f"{launched} processes were launched, but accelerate sees {self.accelerator.num_processes}: each would "
                "train alone, into one folder. Check the launcher's settings (accelerate env)."
            )
        if precision == "fp16" and self.accelerator.scaler is None:  # accelerate would compute in float32, in silence
            raise RecipeError(
                f"train.precision: fp16 needs a GPU; this is {self.accelerator.device}. Allowed: no, bf16"
            )
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        self.scaler = self.accelerator.scaler
        self.mixed = precision != "no"

    @property
    def main(self) -> bool:
        return self.rank == 0

    def autocast(self) -> Any:
        return self.accelerator.autocast()

    def sum(self, values: Tensor) -> Tensor:
        """Sum over processes."""
        return self.accelerator.reduce(values, reduction="sum") if self.world > 1 else values

    def wait(self) -> None:
        if self.world > 1:
            self.accelerator.wait_for_everyone()


def check_trackers(trackers: Sequence[str]) -> None:
    """accelerate leaves out what is not installed without a word."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    for name in trackers:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise RecipeError(
                f"train.trackers: no tracker '{name}'. {did_you_mean(name, LOGGER_TYPE_TO_CLASS)}Known: {known}"
            )
        if name not in available:
            raise RecipeError(
                f"train.trackers: '{name}' is not installed. Install it (pip install {name}), or leave it out"
            )


def wrap_roles(objective: Objective, place: Place) -> dict[str, nn.Module]:
    """Every role on the device, in DDP when there are several processes. Binds and returns the wrapped ones."""
    roles = objective.roles()
    for module in roles.values():
        module.to(place.device)
    if place.world == 1:
        return {}
    ids = [place.device.index] if place.device.type == "cuda" else None
    objective.zero_grad()
    for name, module in roles.items():  # DDP watches the parameters that learn when it is made, and waits for them all
        module.requires_grad_(False)
        for parameter in objective.learning(name):
            parameter.requires_grad_(True)
    wrapped: dict[str, nn.Module] = {
        name: DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False) for name, module in roles.items()
    }
    objective.bind(wrapped)
    return wrapped


@contextmanager
def without_sync(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Gradients pile up locally: every micro-step of an accumulation but the last."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(module.no_sync())  # type: ignore[operator]
        yield
