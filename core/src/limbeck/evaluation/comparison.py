"""The final table: the teacher, the teacher cut to the student's steps, the student, and real data as the floor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.evaluation import held_out as real_data
from limbeck.evaluation.metrics import directions, measure
from limbeck.evaluation.settings import (
    TEACHER_SAMPLING,
    TOKEN_SAMPLING,
    Sampling,
    Settings,
    sampling_of,
    student_sampling,
)
from limbeck.evaluation.student import judge, save_grid
from limbeck.files import write_json
from limbeck.interfaces import Sampler, Teacher, unwrap
from limbeck.process.categorical import CategoricalProcess
from limbeck.process.gaussian import GaussianProcess
from limbeck.sampling.samples import OneCall, Samples, balanced_conditions, generate, grid_conditions


@dataclass(frozen=True)
class Contestant:
    """One row to be: a model and how it is sampled."""

    name: str
    role: str
    model: Teacher
    sampling: Sampling


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
    settings = Settings.of(built.recipe, samples=samples, seed=seed, batch_size=batch_size)
    chosen = contestants(built, network)
    cond = balanced_conditions(built.data, settings.samples, settings.seed)
    rows = []
    for one in chosen:
        sampler, steps, name = one.sampling
        judged = judge(built, one.model, sampler, steps, cond, settings, metrics=built.metrics)
        rows.append({"name": one.name, "role": one.role, "sampler": name, **judged})
    real = real_data.held_out(built.data)
    rows += _floor(built, real, settings)
    if folder is not None:
        if settings.grid:
            _save_pictures(Path(folder) / "samples" / "comparison", chosen, real, built, settings)
        content = table(rows, built.metrics, samples=settings.samples, seed=settings.seed)
        write_json(Path(folder) / "evaluation.json", content)
    return rows


def table(rows: Sequence[Mapping[str, Any]], metrics: Any, *, samples: int, seed: int) -> dict[str, Any]:
    """The content of evaluation.json: rows, which way is better for every metric, the primary metric (the first), and
    under which conditions the rows were made."""
    better = directions(metrics)
    return {"rows": list(rows), "better": better, "primary": next(iter(better), None), "samples": samples, "seed": seed}


def contestants(built: Any, network: Teacher) -> list[Contestant]:
    """The student, behind its teacher where it has one."""
    teacher = getattr(built, "teacher", None)
    student = Contestant("student" if teacher is not None else "model", "student", network, student_sampling(built))
    return [*(_teachers(built, network) if teacher is not None else ()), student]


def _teachers(built: Any, student: Any) -> list[Contestant]:
    """The teacher at its own sampler and steps, at its fewest, and with no more evaluations than the student."""
    evaluate, teacher = built.recipe.evaluate, built.teacher
    continuous = isinstance(teacher.process, GaussianProcess)
    if evaluate.teacher is not None:
        own = sampling_of(evaluate.teacher)
    elif isinstance(teacher.process, CategoricalProcess):
        own = sampling_of(TOKEN_SAMPLING)
    else:
        own = sampling_of(TEACHER_SAMPLING) if continuous else student_sampling(built)
    found = [Contestant("teacher", "teacher", teacher, own)]
    if evaluate.teacher_fewest is not None:
        fewest = sampling_of(evaluate.teacher_fewest)
        found.append(Contestant(f"teacher, {fewest.name}", "teacher_fewest", teacher, fewest))
    if getattr(unwrap(student), "process", None) is None or teacher.process is None:
        return found  # neither a render nor a token is a step towards a sample
    evaluations = built.sampler.evaluations(built.sampling_steps)
    sampler, steps = _cut(own.sampler, own.steps, evaluations, gaussian=continuous)
    if steps < own.steps:
        name = f"teacher, cut to {steps} step{'s' if steps > 1 else ''}"
        used = own.name if sampler is own.sampler else "one call"
        found.append(Contestant(name, "teacher_cut", teacher, Sampling(sampler, steps, used)))
    return found


def _cut(sampler: Sampler, steps: int, evaluations: int, *, gaussian: bool = True) -> tuple[Sampler, int]:
    """The same sampler at the most steps that cost no more than `evaluations`; for one, a single x0_hat from noise
    where noise is continuous."""
    affordable = [k for k in range(1, steps + 1) if sampler.evaluations(k) <= evaluations]
    if gaussian and (evaluations == 1 or not affordable):
        return OneCall(), 1
    return sampler, affordable[-1] if affordable else 1


def _floor(built: Any, real: Samples | None, settings: Settings) -> list[dict[str, Any]]:
    """The row of real data; none where all metrics judge models: it has none."""
    if real is None:
        return []
    metrics = measure(real_data.evenly(real, settings.samples), built.metrics, built.data)
    if not (metrics := real_data.without_itself(metrics)):
        return []
    cost: dict[str, Any] = {"sampler": None, "steps": 0, "evaluations": 0, "ms_per_sample": None}
    return [{"name": "real data, held out", "role": "floor", **cost, "metrics": metrics}]


def _save_pictures(
    folder: Path, chosen: Sequence[Contestant], real: Samples | None, built: Any, settings: Settings
) -> None:
    cond = grid_conditions(built.data, settings.grid, settings.seed)
    for one in chosen:
        sampler, steps, _ = one.sampling
        made = generate(
            one.model, sampler, steps=steps, count=settings.grid, cond=cond, seed=settings.seed,
            batch_size=settings.batch_size,
        )  # fmt: skip
        save_grid(made.samples, folder / one.role)
    if real is not None:
        save_grid(real_data.alike(real, cond, settings.grid), folder / "floor")
