"""The teacher at its cheapest: speed-ups are stated against it, since a teacher that wastes evaluations is easily
beaten.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.evaluation.metrics import directions
from limbeck.evaluation.settings import Settings, make_sampler, name_of
from limbeck.evaluation.student import judge
from limbeck.interfaces import Sampler
from limbeck.sampling.samples import balanced_conditions


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

    Every sampler (a name, an object, or {use, **options}) is tried at every number of steps, at equal noise and
    conditions.

    Returns:
        `primary` (the metric), `best` and `fewest` (rows as in `compare`), `rows` (all of them).
    """
    settings = Settings.of(built.recipe, samples=samples, seed=seed, batch_size=batch_size)
    better = directions(built.metrics)
    if not better:
        raise LimbeckError("fewest_evaluations needs a metric to keep, but evaluate.metrics is empty: add one there")
    primary = next(iter(better))
    sign = 1.0 if better[primary] == "lower" else -1.0
    cond = balanced_conditions(built.data, settings.samples, settings.seed)
    rows = []
    for given in samplers:
        options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"use": given}
        use = options.pop("use")
        sampler, name = make_sampler(use, options), name_of(use)
        for steps in steps_list:
            judged = judge(built, built.teacher, sampler, steps, cond, settings, metrics=built.metrics)
            rows.append({"name": f"teacher, {name} {steps}", "role": "teacher", "sampler": name, **judged})
    usable = [row for row in rows if math.isfinite(row["metrics"][primary])]
    if not usable:
        raise LimbeckError(f"the teacher's {primary} is not finite with any of the samplers given; check the teacher")
    best = min(usable, key=lambda row: sign * row["metrics"][primary])
    limit = best["metrics"][primary] + sign * tolerance * abs(best["metrics"][primary])
    kept = [row for row in usable if sign * row["metrics"][primary] <= sign * limit]
    fewest = min(kept, key=lambda row: (row["evaluations"], sign * row["metrics"][primary]))
    return {"primary": primary, "tolerance": tolerance, "best": best, "fewest": fewest, "rows": rows}
