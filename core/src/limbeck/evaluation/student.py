"""The student at one moment of a run: its metrics, its picture, and what one set of samples costs.

Everything but the milliseconds is a function of the seed; see `limbeck.sampling.samples` for the noise and the
conditions.
"""

from pathlib import Path
from typing import Any

from limbeck.evaluation.metrics import measure
from limbeck.evaluation.settings import Settings
from limbeck.interfaces import Sampler, Teacher
from limbeck.networks.scenes import Scene
from limbeck.sampling.samples import Samples, balanced_conditions, generate, grid_conditions


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
    """The student's metrics, sampled by the recipe's `sampling` block; equal weights give equal numbers.

    What is not given comes from the recipe's `evaluate` block.
    """
    settings = Settings.of(built.recipe, samples=samples, seed=seed, batch_size=batch_size)
    cond = balanced_conditions(built.data, settings.samples, settings.seed)
    sampler, steps = sampler or built.sampler, steps or built.sampling_steps
    chosen = built.metrics if metrics is None else metrics
    return judge(built, network, sampler, steps, cond, settings, metrics=chosen, timed=False)["metrics"]


def judge(
    built: Any,
    model: Teacher,
    sampler: Sampler,
    steps: int,
    cond: Any,
    settings: Settings,
    *,
    metrics: Any,
    timed: bool = True,
) -> dict[str, Any]:
    """What a model costs and scores: `steps`, `evaluations` and `ms_per_sample` per sample, `metrics`."""
    made = generate(
        model, sampler, steps=steps, cond=cond, count=settings.samples, seed=settings.seed,
        batch_size=settings.batch_size, timed=timed,
    )  # fmt: skip
    teacher = getattr(built, "teacher", None)
    return {
        "steps": steps,
        "evaluations": 0 if isinstance(model, Scene) else made.evaluations,  # a render is none of a network
        "ms_per_sample": made.ms_per_sample,
        "metrics": measure(
            made.samples, metrics, built.data, model=model, teacher=teacher, sampler=sampler, steps=steps
        ),
    }


def grid(built: Any, network: Teacher, *, count: int | None = None, seed: int | None = None) -> Samples:
    """The picture of a run at one moment: always the same noise and conditions, so that pictures over time compare."""
    settings = Settings.of(built.recipe, seed=seed)
    count = count or settings.grid
    return generate(
        network, built.sampler, steps=built.sampling_steps, count=count, seed=settings.seed,
        cond=grid_conditions(built.data, count, settings.seed), batch_size=settings.batch_size,
    ).samples  # fmt: skip


def save_grid(samples: Samples, stem: Path | str) -> None:
    """`stem`.safetensors, and `stem`.png by the view of the domain; `stem`.html too where a PNG does not show all."""
    stem = Path(stem)
    samples.save(stem.with_name(stem.name + ".safetensors"))
    picture = samples.picture()
    picture.save(stem.with_name(stem.name + ".png"))
    if not picture.still:
        stem.with_name(stem.name + ".html").write_text(picture.html(), encoding="utf-8")
