"""How good a student is and what it costs: metrics while it trains, the final table, the teacher at its cheapest.

Everything but the milliseconds is a function of the seed; see `limbeck.sampling.samples` for the noise and the
conditions.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from limbeck import conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Data, Metric, ModelMetric, Sampler, Teacher, unwrap
from limbeck.networks.scenes import Scene
from limbeck.process.categorical import CategoricalProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.sampling.samples import (
    OneCall,
    Samples,
    are_labels,
    balanced_conditions,
    evaluating,
    generate,
    grid_conditions,
)

__all__ = [
    "Samples", "compare", "directions", "evaluate_student", "fewest_evaluations", "generate", "grid", "measure",
    "save_grid", "table", "write_json",
]  # fmt: skip

DEFAULT_TEACHER_SAMPLING = {"use": "heun", "steps": 18}  # 35 evaluations, Karras et al. 2022
DEFAULT_TOKEN_SAMPLING = {"use": "ancestral", "steps": 32}


# --- metrics ---------------------------------------------------------------------------------------------------------


def named_metrics(metrics: Any) -> dict[str, Metric]:
    """Metrics by name, in order, from a mapping or a sequence."""
    if isinstance(metrics, Mapping):
        return dict(metrics)
    return {type(metric).__name__: metric for metric in metrics or ()}


def directions(metrics: Any) -> dict[str, Literal["lower", "higher"]]:
    """For every number that the metrics return: is lower or higher better?"""
    return {key: way for metric in named_metrics(metrics).values() for key, way in metric.better.items()}


def measure(
    samples: Samples,
    metrics: Any,
    reference: Data,
    *,
    model: Any = None,
    teacher: Teacher | None = None,
    sampler: Sampler | None = None,
    steps: int = 1,
) -> dict[str, float]:
    """All metrics on one set of samples, and on the model that made them (by `sampler`, in `steps`) where one is
    given, flat.

    Metrics of samples answer nan throughout when a sample is not finite: a distance to it means nothing, and an
    evaluation must not end a run.
    """
    found: dict[str, float] = {}
    finite = bool(torch.isfinite(samples.value).all()) if samples.value.is_floating_point() else True
    for name, metric in named_metrics(metrics).items():
        if isinstance(metric, ModelMetric):
            if model is None:
                continue  # real data: there is no model to judge
            how: dict[str, Any] = {"sampler": sampler, "steps": steps} if metric.samples else {}
            with evaluating(model):
                numbers = metric(model, teacher, reference, **how)
        else:
            judged = metric(samples.value, samples.cond, reference) if finite else None
            numbers = judged if judged is not None else dict.fromkeys(metric.better, math.nan)
        for key, value in numbers.items():
            found[f"{name}/{key}" if key in found else key] = float(value)
    return found


def evaluate_student(
    built: Any,
    network: Teacher,
    *,
    samples: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    metrics: Any = None,
    sampler: Sampler | None = None,
    steps: int | None = None,
) -> dict[str, float]:
    """The student's metrics, sampled as the recipe's `sampling` block says; equal weights give equal numbers.

    What is not given comes from the recipe's `evaluate` block.
    """
    plan = _plan(built, samples, seed, batch_size)
    sampler, steps = sampler or built.sampler, steps or built.sampling_steps
    generated = generate(
        network,
        sampler,
        steps=steps,
        cond=balanced_conditions(built.data, plan.samples, plan.seed),
        count=plan.samples,
        seed=plan.seed,
        batch_size=plan.batch_size,
    )
    chosen = built.metrics if metrics is None else metrics
    who: dict[str, Any] = {
        "model": network,
        "teacher": getattr(built, "teacher", None),
        "sampler": sampler,
        "steps": steps,
    }
    return measure(generated.samples, chosen, built.data, **who)


def grid(built: Any, network: Teacher, *, count: int | None = None, seed: int | None = None) -> Samples:
    """The picture of a run at one moment: always the same noise and conditions, so that pictures over time compare."""
    plan = _plan(built, None, seed, None)
    count = count or plan.grid
    cond = grid_conditions(built.data, count, plan.seed)
    where = {"cond": cond, "seed": plan.seed, "batch_size": plan.batch_size}
    return generate(network, built.sampler, steps=built.sampling_steps, count=count, **where).samples


# --- the final table -------------------------------------------------------------------------------------------------


def compare(
    built: Any,
    network: Teacher,
    *,
    samples: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    folder: Path | str | None = None,
) -> list[dict[str, Any]]:
    """Rows of the final table: teacher, teacher cut to the student's steps, student, and real data as the floor.

    Each row: `name`, `role` (teacher, teacher_fewest, teacher_cut, student, floor), `sampler`, `steps`, `evaluations`
    (rows through the network per sample, guidance counted), `ms_per_sample`, `metrics`. With `folder` (of a run) the
    table goes to evaluation.json and a grid of every row, at equal noise, to samples/comparison/.
    """
    plan = _plan(built, samples, seed, batch_size)
    contestants: list[tuple[str, str, Teacher, Sampler, int, str]] = []
    if getattr(built, "teacher", None) is not None:
        contestants = _teachers(built, network)
    used = _student_sampler(built)
    subject = "student" if contestants else "model"
    contestants.append((subject, "student", network, built.sampler, built.sampling_steps, used))

    cond = balanced_conditions(built.data, plan.samples, plan.seed)
    rows = []
    for name, role, model, sampler, steps, used in contestants:
        rows.append({"name": name, "role": role, "sampler": used, **_judge(built, model, sampler, steps, cond, plan)})
    floor = _real(built.data)
    real = {}
    if floor is not None:
        real = _without_itself(measure(_spread(floor, plan.samples), built.metrics, built.data))
    if real:  # metrics of models say nothing about real data
        rows.append(
            {
                "name": "real data, held out",
                "role": "floor",
                "sampler": None,
                "steps": 0,
                "evaluations": 0,
                "ms_per_sample": None,
                "metrics": real,
            }
        )
    if folder is not None:
        _save_comparison(Path(folder), rows, contestants, floor, built, plan)
    return rows


def _teachers(built: Any, student: Any) -> list[tuple[str, str, Teacher, Sampler, int, str]]:
    """The teacher at its own sampler and steps, at its fewest, and with no more evaluations than the student: (name,
    role, model, sampler, steps, sampler's name)."""
    block = _teacher_sampling(built.recipe)
    if block is None and isinstance(built.teacher.process, CategoricalProcess):
        block = dict(DEFAULT_TOKEN_SAMPLING)
    if block is None and not isinstance(built.teacher.process, GaussianProcess):  # as the student is sampled
        sampler, steps, use = built.sampler, built.sampling_steps, _student_sampler(built)
    else:
        block = block or dict(DEFAULT_TEACHER_SAMPLING)
        steps = block.pop("steps")
        sampler, use = _sampler(block), _sampler_name(block["use"])
    found = [("teacher", "teacher", built.teacher, sampler, steps, use)]
    fewest = _teacher_sampling(built.recipe, "teacher_fewest")
    if fewest is not None:
        walker, fewer, used = _sampler(fewest), fewest["steps"], _sampler_name(fewest["use"])
        found.append((f"teacher, {used}", "teacher_fewest", built.teacher, walker, fewer, used))
    if getattr(unwrap(student), "process", None) is None or built.teacher.process is None:
        return found  # neither a render nor a token is a step towards a sample
    evaluations = built.sampler.evaluations(built.sampling_steps)
    cut, cut_steps = _cut(sampler, steps, evaluations, gaussian=isinstance(built.teacher.process, GaussianProcess))
    if cut_steps < steps:
        used = use if cut is sampler else "one call"
        name = f"teacher, cut to {cut_steps} step{'s' if cut_steps > 1 else ''}"
        found.append((name, "teacher_cut", built.teacher, cut, cut_steps, used))
    return found


def _student_sampler(built: Any) -> str:
    return _sampler_name(_block(built.recipe, "sampling").get("use") or built.sampler)


def _judge(built: Any, model: Teacher, sampler: Sampler, steps: int, cond: Any, plan: "_Plan") -> dict[str, Any]:
    """One row without its name: cost and metrics."""
    where = {"cond": cond, "seed": plan.seed, "batch_size": plan.batch_size}
    made = generate(model, sampler, steps=steps, count=plan.samples, timed=True, **where)
    who: dict[str, Any] = {
        "model": model,
        "teacher": getattr(built, "teacher", None),
        "sampler": sampler,
        "steps": steps,
    }
    return {
        "steps": steps,
        "evaluations": 0 if isinstance(model, Scene) else made.evaluations,  # a render is none of a network
        "ms_per_sample": made.ms_per_sample,
        "metrics": measure(made.samples, built.metrics, built.data, **who),
    }


def table(rows: Sequence[Mapping[str, Any]], metrics: Any, *, samples: int, seed: int) -> dict[str, Any]:
    """The content of evaluation.json: rows, which way is better for every metric, the primary metric (the first), and
    under which conditions the rows were made."""
    better = directions(metrics)
    return {"rows": list(rows), "better": better, "primary": next(iter(better), None), "samples": samples, "seed": seed}


def _save_comparison(folder: Path, rows, contestants, floor: Samples | None, built, plan: "_Plan") -> None:
    if plan.grid:
        _save_pictures(folder / "samples" / "comparison", contestants, floor, built, plan)
    write_json(folder / "evaluation.json", table(rows, built.metrics, samples=plan.samples, seed=plan.seed))


def _save_pictures(pictures: Path, contestants, floor: Samples | None, built, plan: "_Plan") -> None:
    cond = grid_conditions(built.data, plan.grid, plan.seed)
    for _, role, model, sampler, steps, _ in contestants:
        made = generate(
            model, sampler, steps=steps, count=plan.grid, cond=cond, seed=plan.seed, batch_size=plan.batch_size
        )
        save_grid(made.samples, pictures / role)
    if floor is not None:
        save_grid(_like(floor, cond, plan.grid), pictures / "floor")


def save_grid(samples: Samples, stem: Path | str) -> None:
    """`stem`.safetensors, and `stem`.png by the view of the domain; `stem`.html too where a PNG does not say all."""
    stem = Path(stem)
    samples.save(stem.with_name(stem.name + ".safetensors"))
    picture = samples.picture()
    picture.save(stem.with_name(stem.name + ".png"))
    if not picture.still:
        stem.with_name(stem.name + ".html").write_text(picture.html(), encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Strict JSON (nan and infinities become null), written aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut(sampler: Sampler, steps: int, evaluations: int, *, gaussian: bool = True) -> tuple[Sampler, int]:
    """The same sampler at the most steps that cost no more than `evaluations`; for one, a single x0_hat from noise
    where noise is continuous."""
    affordable = [k for k in range(1, steps + 1) if sampler.evaluations(k) <= evaluations]
    if gaussian and (evaluations == 1 or not affordable):
        return OneCall(), 1
    return sampler, affordable[-1] if affordable else 1


def _real(data: Data | None) -> Samples | None:
    """The held-out split as samples."""
    try:
        held_out = data.split("held_out") if data is not None else None
    except TypeError:
        return None
    if held_out is None or len(held_out) == 0:
        return None
    batch = held_out.batch(torch.arange(min(len(held_out), 10_000)))
    if batch.x0 is None:
        return None
    return Samples(batch.x0, batch.cond, held_out.space)


def _spread(real: Samples, count: int) -> Samples:
    """`count` of them, evenly spread, or all there are: what a perfect generator of that many samples would score. (A
    Frechet distance of few samples is larger than that of many.)"""
    if count >= len(real.value):
        return real
    rows = torch.linspace(0, len(real.value) - 1, count).long()
    return Samples(real.value[rows], conditions.rows(real.cond, rows), real.space)


def _without_itself(metrics: dict[str, float]) -> dict[str, float]:
    """Distances of the held-out split to itself are zero by construction, and no floor."""
    return {key: value for key, value in metrics.items() if not key.endswith("held_out")}


def _like(real: Samples, cond: Any, count: int) -> Samples:
    """`count` real samples, the k-th with the k-th condition as far as there are any left."""
    if not are_labels(real.cond) or not are_labels(cond):
        return Samples(real.value[:count], conditions.rows(real.cond, slice(count)), real.space)
    by_label = {int(label): torch.nonzero(real.cond == label).flatten().tolist() for label in cond.unique()}
    turn: dict[int, int] = {}
    rows = []
    for label in cond.tolist():
        if by_label[label]:
            rows.append(by_label[label][turn.get(label, 0) % len(by_label[label])])
            turn[label] = turn.get(label, 0) + 1
    return Samples(real.value[rows], real.cond[rows], real.space)


# --- the teacher at its cheapest -------------------------------------------------------------------------------------


def fewest_evaluations(
    built: Any,
    samplers: Iterable[str | Sampler | Mapping[str, Any]],
    steps_list: Sequence[int],
    tolerance: float = 0.05,
    *,
    samples: int | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """The cheapest way to run the teacher that keeps its primary metric within `tolerance` of its best.

    Every sampler is tried at every number of steps, at equal noise and conditions. A student's speed-up is stated
    against `fewest`: a teacher that wastes evaluations is easily beaten.

    Returns:
        `primary` (the metric), `best` and `fewest` (rows as in `compare`), `rows` (all of them).
    """
    plan = _plan(built, samples, seed, batch_size)
    better = directions(built.metrics)
    if not better:
        raise LimbeckError("fewest_evaluations needs a metric to keep, but evaluate.metrics is empty: add one there")
    primary = next(iter(better))
    sign = 1.0 if better[primary] == "lower" else -1.0
    cond = balanced_conditions(built.data, plan.samples, plan.seed)
    rows = []
    for sampler in samplers:
        block = dict(sampler) if isinstance(sampler, Mapping) else {"use": sampler}
        walker, used = _sampler(block), _sampler_name(block["use"])
        for steps in steps_list:
            judged = _judge(built, built.teacher, walker, steps, cond, plan)
            rows.append({"name": f"teacher, {used} {steps}", "role": "teacher", "sampler": used, **judged})
    usable = [row for row in rows if math.isfinite(row["metrics"][primary])]
    if not usable:
        raise LimbeckError(f"the teacher's {primary} is not finite with any of the samplers given; check the teacher")
    best = min(usable, key=lambda row: sign * row["metrics"][primary])
    limit = best["metrics"][primary] + sign * tolerance * abs(best["metrics"][primary])
    kept = [row for row in usable if sign * row["metrics"][primary] <= sign * limit]
    fewest = min(kept, key=lambda row: (row["evaluations"], sign * row["metrics"][primary]))
    return {"primary": primary, "tolerance": tolerance, "best": best, "fewest": fewest, "rows": rows}


# --- reading the recipe ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    samples: int
    batch_size: int
    seed: int
    grid: int


def _plan(built: Any, samples: int | None, seed: int | None, batch_size: int | None) -> _Plan:
    block = _block(built.recipe, "evaluate")

    def first(given: int | None, key: str, default: int) -> int:
        return given if given is not None else block[key] if block.get(key) is not None else default

    return _Plan(
        samples=first(samples, "samples", 1000),
        batch_size=first(batch_size, "batch_size", 500),
        seed=first(seed, "seed", 0),
        grid=first(None, "grid", 80),
    )


def _block(recipe: Any, name: str) -> dict[str, Any]:
    """One block of a recipe as a plain dict, whether the recipe is a mapping or an object."""
    block = recipe.get(name) if isinstance(recipe, Mapping) else getattr(recipe, name, None)
    if block is None:
        return {}
    return dict(block) if isinstance(block, Mapping) else block.model_dump()


def _teacher_sampling(recipe: Any, key: str = "teacher") -> dict[str, Any] | None:
    """{use, steps, **options} of `evaluate.teacher` (or another key); `use` is the object itself where one was
    given."""
    evaluate = recipe.get("evaluate") if isinstance(recipe, Mapping) else recipe.evaluate
    block = evaluate.get(key) if isinstance(evaluate, Mapping) else getattr(evaluate, key, None)
    if block is None:
        return None
    if isinstance(block, Mapping):
        return {**DEFAULT_TEACHER_SAMPLING, **block}
    return {**block.options, "use": block.object or block.use, "steps": block.steps}


def _sampler(block: Mapping[str, Any]) -> Sampler:
    """The sampler of a block {use, **options}; `use` may be the object itself."""
    if isinstance(block["use"], Sampler):
        return block["use"]
    from limbeck.plugins.registry import create

    options = {key: value for key, value in block.items() if key not in ("use", "steps")}
    return create("sampler", block["use"], **options)


def _sampler_name(use: Any) -> str:
    return use if isinstance(use, str) else type(use).__name__
