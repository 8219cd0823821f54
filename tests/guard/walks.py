"""Samplers and sources of the tables in `cases`: what they draw, as digests."""

from typing import Any

import torch
from cases import SOURCES, WALKS
from problems import ROWS, batch
from torch import Tensor
from values import digest, problem

import limbeck

SAMPLERS = {f"{name} on {where}: {what}": (name, *rest) for what, name, *rest in WALKS for where in (rest[1],)}
BATCHES = {f"{name} on {where}: {what}": (name, options, where) for what, name, options, where in SOURCES}


def sampled(name: str) -> dict[str, Any]:
    """The sample, from given noise where there is some, and what the sampler says that it cost."""
    sampler_name, options, where, steps, *guidance = SAMPLERS[name]
    chosen = problem(where)
    students = sampler_name in ("streaming", "3d/orbit")
    model = chosen.generator().eval().requires_grad_(False) if students else chosen.teacher()
    if guidance:
        model = limbeck.Guided(model, **guidance[0])
    rng = limbeck.rng(5, phase="sampling")
    drawn = batch(chosen, "noise cond", rng, model)
    if where == "language":
        drawn = limbeck.Batch(cond=batch(chosen, "x0", rng, model).x0[:, :3])
    sampler = limbeck.create("sampler", sampler_name, **options)
    with torch.no_grad():
        found = sampler(model, drawn.cond, steps=steps, rng=rng, batch_size=ROWS, noise=drawn.noise)
    return {
        "sample": digest([found.value]),
        "evaluations": str(found.evaluations),
        "per sample": str(sampler.evaluations(steps)),
        "times": f"{float(found.t_from).hex()} {float(found.t_to).hex()}",
    }


def batches(name: str) -> dict[str, Any]:
    """Two steps of a source, and the second half of the second."""
    source_name, options, where = BATCHES[name]
    chosen = problem(where)
    partners = {"data": chosen.data, "generator": chosen.generator(), "teacher": chosen.teacher()}
    limbeck.rng(0, phase="setup").seed_globally()
    source = limbeck.create("source", source_name, **partners, **options)
    phase = limbeck.Phase("generator", ("generator",))
    asked = {
        "0": (ROWS, limbeck.rng(3, 0, phase)),
        "1": (ROWS, limbeck.rng(3, 1, phase)),
        "1, second half": (ROWS // 2, limbeck.rng(3, 1, phase, part=1, parts=2)),
    }
    return {key: fields(source.batch(rows, rng)) for key, (rows, rng) in asked.items()}


def fields(found: limbeck.Batch) -> dict[str, Any]:
    """Digests of the fields of a batch, by name; named conditions by theirs."""
    values = {}
    for name, value in vars(found).items():
        if isinstance(value, Tensor):
            values[name] = digest([value])
        elif value is not None:
            values |= {f"{name}.{key}": digest([tensor]) for key, tensor in sorted(value.items())}
    return values
