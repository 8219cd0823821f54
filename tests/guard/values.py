"""Losses and gradients of the table, as values that two checkouts can compare bit by bit.

A digest is over the little-endian bytes of the tensors, in the order of their names; `unordered` is over the same
tensors whatever they are called, so that a renamed module is distinct from a changed gradient.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from cases import Case
from problems import PROBLEMS, Problem, batch
from torch import Tensor, nn

import limbeck

LR = 0.02


def raw(tensor: Tensor) -> bytes:
    """Little-endian bytes, row by row, whatever the layout in memory."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def digest(tensors: Sequence[Tensor]) -> dict[str, Any]:
    """sha256 of all, in the order given and in no order, and the norm of all of them in float64."""
    whole = hashlib.sha256()
    each = []
    for tensor in tensors:
        own = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw(tensor)).digest()
        whole.update(own)
        each.append(own)
    squares = sum(float(tensor.detach().double().square().sum()) for tensor in tensors)
    return {
        "sha256": whole.hexdigest(),
        "unordered": hashlib.sha256(b"".join(sorted(each))).hexdigest()[:16],
        "norm": math.sqrt(squares).hex(),
    }


def by_name(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return digest([tensors[name] for name in sorted(tensors)])


@cache
def problem(name: str) -> Problem:
    return PROBLEMS[name]()


def objective_of(case: Case) -> tuple[limbeck.Objective, Any, Any]:
    """The objective set up with its partners, and they. Every trained network but the generator is moved a little: a
    critic that is still the teacher would hide most of the gradients."""
    chosen = problem(case.problem)
    generator, teacher = chosen.generator(), chosen.teacher()
    if case.guidance:
        teacher = limbeck.Guided(teacher, **case.guidance)
    objective = limbeck.create("objective", case.objective, **case.options)
    limbeck.rng(0, phase="setup").seed_globally()
    objective.setup(generator, teacher)
    with torch.no_grad():
        for role, module in objective.roles().items():
            if role != "generator":
                module.to(chosen.dtype)
                for parameter in objective.learning(role):  # half: what constructors draw differs in the last bits
                    parameter.copy_((1.1 * parameter).half())
    return objective, generator, teacher


def losses(case: Case) -> dict[str, Any]:
    """{"step phase repeat": loss, terms and gradients}: the loop of README.md with plain gradient descent."""
    objective, generator, teacher = objective_of(case)
    chosen, found = problem(case.problem), {}
    for step in range(case.steps):
        teacher.at_step(step)
        if hasattr(generator, "at_step"):
            generator.at_step(step)
        for phase in objective.phases(step):
            rng = limbeck.rng(3, step, phase)
            rng.seed_globally()  # dropout
            objective.focus(phase)
            objective.zero_grad()
            loss = objective.loss(phase, batch(chosen, case.batch, rng, generator), rng)
            loss.backward()
            found[f"{step} {phase.name} {phase.repeat}"] = _recorded(loss, objective.roles())
            _descend(objective, phase)
    state = objective.state_dict()
    if state:
        found["state"] = digest(list(state.values()))
    found["sampling"] = {key: str(value) for key, value in sorted(objective.sampling().items())}
    return found


def _recorded(loss: limbeck.Loss, roles: Mapping[str, nn.Module]) -> dict[str, Any]:
    gradients = {}
    for role, module in roles.items():
        if any(parameter.grad is not None for parameter in module.parameters()):
            gradients[role] = by_name(
                {
                    name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    for name, parameter in module.named_parameters()
                }
            )
    terms = {name: float(term).hex() for name, term in sorted(loss.terms.items())}
    count = {} if loss.count is None else {"count": float(loss.count).hex()}
    return {"loss": float(loss.value.detach()).hex(), **count, "terms": terms, "gradients": gradients}


@torch.no_grad()
def _descend(objective: limbeck.Objective, phase: limbeck.Phase) -> None:
    """Plain gradient descent, on gradients of norm 1 at most: sums over large fields would run away."""
    learning = [p for role in phase.roles for p in objective.learning(role) if p.grad is not None]
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in learning))
    for parameter in learning:
        parameter.sub_(LR / max(norm, 1.0) * parameter.grad)


# --- where and how ---------------------------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What decides the last bits: the processor, and the library that computes."""
    info = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    for line in info.read_text().splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    words = [facts[key] for key in ("model name", "cpu family", "model", "stepping") if key in facts]
    return {
        "cpu": " ".join([*words, torch.backends.cpu.get_cpu_capability()]),
        "torch": torch.__version__,
    }


# --- comparing -------------------------------------------------------------------------------------------------------


def differences(recorded: Any, now: Any, *, tolerance: float, where: str = "") -> list[str]:
    """One line for everything that differs. Tolerance 0: digests and numbers are equal, bit by bit. Otherwise norms and
    numbers agree to a relative tolerance, and digests are not looked at."""
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        if "sha256" in recorded and "sha256" in now:
            return _digests(recorded, now, tolerance, where)
        lines = []
        for key in dict.fromkeys([*recorded, *now]):
            place = f"{where} / {key}" if where else key
            if key not in now:
                lines.append(f"{place}: recorded, and not there now")
            elif key not in recorded:
                lines.append(f"{place}: there now, and not recorded")
            else:
                lines += differences(recorded[key], now[key], tolerance=tolerance, where=place)
        return lines
    if recorded == now:
        return []
    apart = _apart(recorded, now)
    if apart is None:
        return [f"{where}: recorded {recorded}, now {now}"]
    return [] if apart <= tolerance else [f"{where}: relative difference {apart:.2g}"]


def _digests(recorded: Mapping, now: Mapping, tolerance: float, where: str) -> list[str]:
    if recorded["unordered"] == now["unordered"]:
        return []  # the same tensors, maybe under other names
    apart = _apart(recorded["norm"], now["norm"])
    assert apart is not None
    if tolerance and apart <= tolerance:
        return []
    return [f"{where}: not bitwise equal, relative difference of the norms {apart:.2g}"]


def _apart(recorded: Any, now: Any) -> float | None:
    """Relative difference of two numbers in hexadecimal; None where they are something else."""
    try:
        a, b = float.fromhex(recorded), float.fromhex(now)
    except (TypeError, ValueError):
        return None
    if a == b:
        return 0.0
    return abs(a - b) / max(abs(a), abs(b), 1e-300)
