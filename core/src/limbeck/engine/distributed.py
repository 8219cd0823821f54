"""Devices, processes and precision: accelerate's for launch and collectives, torch's own wrappers around roles.

DDP keeps a role whole in every process; `fully_shard` spreads it (`limbeck.networks.sharding`).
"""

import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from limbeck.errors import LimbeckError, RecipeError, did_you_mean
from limbeck.interfaces import Objective
from limbeck.networks.sharding import is_sharded, shard, synchronise


class Distributed:
    """Where this process computes, and the processes that compute with it."""

    def __init__(self, precision: str = "no", trackers: Sequence[str] = (), folder: Path | None = None):
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        check_trackers(trackers)
        # precision belongs to a run, and accelerate remembers it for the whole Python process
        AcceleratorState._reset_state()
        launched = int(os.environ.get("WORLD_SIZE", "1"))
        # without a GPU, and without `cpu`, accelerate takes every launched process for a run of its own
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

    @cached_property
    def mesh(self) -> Any:
        """All processes in a row, for `fully_shard`."""
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self.device.type, (self.world,))

    def each(self, row: Tensor) -> Tensor:
        """The rows (n,) of all processes, (world, n), in every process."""
        return self.accelerator.gather(row.unsqueeze(0).to(self.device)).cpu() if self.world > 1 else row.unsqueeze(0)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """The mean over processes, for parameters that no wrapper looks after. One without a gradient anywhere keeps
        none."""
        if not parameters:
            return
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        wide = torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32
        there = torch.tensor([float(p.grad is not None) for p in parameters], dtype=wide, device=self.device)
        flat = self.sum(torch.cat([*(g.reshape(-1).to(wide) for g in found), there]))
        sizes = [p.numel() for p in parameters]
        *means, there = (flat / self.world).split([*sizes, len(parameters)])
        for parameter, mean, seen in zip(parameters, means, there.tolist(), strict=True):
            if seen:
                parameter.grad = mean.reshape(parameter.shape).to(parameter.dtype)


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


# what newer versions of torch call broadcast_buffers
_KNOWN = inspect.signature(DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers": False
}


def wrap_roles(
    objective: Objective, distributed: Distributed, parallel: str = "ddp", teacher: nn.Module | None = None
) -> dict[str, nn.Module]:
    """Every role on the device, and with several processes in DDP or, in place, `fully_shard`. Binds and returns them.

    A parameter that two roles share, or a role and the teacher (the base of adapters), stays whole in every process.
    """
    roles = objective.roles()
    for module in roles.values():
        module.to(distributed.device)
    if distributed.world == 1:
        return {}
    objective.zero_grad()
    wrapped: dict[str, nn.Module] = {}
    ids = [distributed.device.index] if distributed.device.type == "cuda" else None
    shared = _shared([*roles.values(), *([teacher] if teacher is not None else [])])
    for name, module in roles.items():
        learning = objective.learning(name)
        module.requires_grad_(False)
        for parameter in learning:  # a wrapper looks at what learns when it is made
            parameter.requires_grad_(True)
        if parallel == "fully_shard":
            shard(module, distributed.mesh, leave=shared)
            objective.add_role(name, module)  # its parameters are other objects now
            wrapped[name] = module
        else:
            wrapped[name] = DistributedDataParallel(module, device_ids=ids, **_OWN_BUFFERS)
    objective.bind(wrapped)
    return wrapped


def shard_teacher(teacher: nn.Module, objective: Objective, distributed: Distributed) -> None:
    """Spread a frozen teacher's weights too, apart from those that it shares with a role."""
    from limbeck.networks.guidance import unguided

    teacher.to(distributed.device)
    inner = unguided(teacher)  # type: ignore[arg-type]
    shard(teacher, distributed.mesh, leave=_shared([inner, *objective.roles().values()]), inner=inner)


def _shared(modules: Iterable[nn.Module]) -> set[int]:
    """Ids of parameters that several of the modules hold."""
    seen: set[int] = set()
    twice: set[int] = set()
    for module in modules:
        own = {id(parameter) for parameter in module.parameters()}
        twice |= seen & own
        seen |= own
    return twice


@contextmanager
def without_sync(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Gradients pile up locally: every micro-batch of an accumulation but the last."""
    sharded = [module for module in modules if is_sharded(module)]
    with ExitStack() as stack:
        for module in modules:
            if module in sharded:
                synchronise(module, False)
                stack.callback(synchronise, module, True)
            else:
                stack.enter_context(module.no_sync())  # type: ignore[operator]
        yield
