"""What every export holds of a student: the network, how it is sampled, the facts of its config.json."""

import copy
import json
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.interfaces import Sampler, unwrap


def student_of(run: Any) -> tuple[nn.Module, Sampler | None, int]:
    """A copy of the student on the CPU, the sampler it was made for, and its steps."""
    network = copy.deepcopy(unwrap(run.generator())).cpu().eval().requires_grad_(False)
    return network, run.built.sampler, run.built.sampling_steps


def config_of(run: Any, network: Any, sampler: Sampler | None, steps: int) -> dict[str, Any]:
    """The facts of config.json: space, process, sampling, versions, metrics, and the recipe that builds the network."""
    from limbeck import __version__

    content = run.recipe.to_dict()
    process = getattr(network, "process", None)
    lives_on = {"type": type(process).__name__, **getattr(process, "__dict__", {})} if process is not None else None
    return {
        "name": content.get("name") or Path(run.path).name,
        "limbeck": __version__,
        "space": {"event": list(network.space.event), "domain": network.space.domain},
        "process": lives_on,
        "sampling": _sampling(sampler, steps) if sampler is not None else None,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "metrics": metrics_of(run),
        "recipe": content,
    }


def _sampling(sampler: Sampler, steps: int) -> dict[str, Any]:
    return {"use": type(sampler).__name__.lower(), "steps": steps, "evaluations": sampler.evaluations(steps)}


def metrics_of(run: Any) -> dict[str, Any]:
    """Metrics of student and teacher from the final table of the run, if there is one."""
    try:
        found = json.loads((Path(run.path) / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = found.get("rows", []) if isinstance(found, dict) else []
    return {row["role"]: row["metrics"] for row in rows if row.get("role") in ("student", "teacher", "floor")}
