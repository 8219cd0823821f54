"""What a run is refused for before it begins: options that do not fit the processes or the objective."""

from typing import Any

from limbeck.engine.distributed import Distributed
from limbeck.errors import RecipeError, did_you_mean
from limbeck.interfaces import Objective

STEPS_LOOKED_AT = 200


def check_options(options: Any, objective: Objective, distributed: Distributed) -> None:
    """`options` is the `train` section of a recipe. Raises RecipeError."""
    check_batch_size(options, distributed.world)
    check_phase_names(options, objective)
    if options.parallel == "fully_shard" and options.precision == "fp16" and distributed.world > 1:
        raise RecipeError(
            "train.parallel: fully_shard does not scale losses for fp16. Use train.precision: bf16, or "
            "train.parallel: ddp"
        )


def check_batch_size(options: Any, world: int) -> None:
    parts = world * options.accumulate
    if options.batch_size % parts:
        raise RecipeError(
            f"train.batch_size {options.batch_size} cannot be split evenly into {parts} parts "
            f"({world} processes x {options.accumulate} micro-batches). Use a multiple of {parts}"
        )


def check_phase_names(options: Any, objective: Objective) -> None:
    """A misspelt name under train.phases would otherwise do nothing, in silence."""
    steps = range(min(options.steps, STEPS_LOOKED_AT))
    known = dict.fromkeys(phase.name for index in steps for phase in objective.phases(index))
    for name in options.phases:
        if name not in known:
            raise RecipeError(
                f"train.phases: the objective has no phase '{name}'. {did_you_mean(name, known)}"
                f"Known: {', '.join(known)}"
            )
