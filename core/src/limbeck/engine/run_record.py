"""run.json: what made a run, on what, and what happened to it."""

import json
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from limbeck.files import write_whole
from limbeck.plugins.registry import registry
from limbeck.recipe.stored import FORMAT


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Of Limbeck, its plugins, torch and what the numbers depend on."""
    found = {"python": platform.python_version()}
    names = ["limbeck", "torch", "accelerate", "numpy", "safetensors"]
    with suppress(Exception):  # a record must not end a run
        names += [row.distribution for row in registry.plugins() if row.status in ("ok", "duplicate")]
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    found: dict[str, Any] = {
        "machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def peak_memory() -> dict[str, int]:
    """Most memory held so far, MiB: of this process (where the system counts it) and of its GPU."""
    found: dict[str, int] = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
        found["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    return found


def reset_peak_memory() -> None:
    """Start counting `peak_memory` anew, where the system allows it: on Linux, and on a GPU."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel's word for it
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


class RunRecord:
    """run.json, rewritten whole (aside, then renamed) whenever something happens."""

    def __init__(self, folder: Path):
        self.path = folder / "run.json"
        self.content: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """What is recorded; empty when there is nothing readable (a run killed in its first moments)."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self.content = content if isinstance(content, dict) else {}
        except (OSError, ValueError):
            self.content = {}
        return self.content

    def start(self, recipe: Any, world: int) -> None:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "python"
        self.content |= {
            "format": FORMAT, "name": recipe.name, "seed": recipe.train.seed, "command": command,
            "versions": versions(), "hardware": hardware(), "processes": world, "python": sys.version.split()[0],
        }  # fmt: skip
        self.content.setdefault("started", now())
        self.content.setdefault("history", [])

    def happened(self, event: str, step: int, status: str, **more: Any) -> None:
        self.content["status"] = status
        self.content["step"] = step
        self.content["peak_memory_mib"] = peak_memory()
        self.content["history"].append({"at": now(), "event": event, "step": step, **more})
        self.write()

    def write(self) -> None:
        write_whole(self.path, json.dumps(self.content, indent=2) + "\n")
