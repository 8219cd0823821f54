"""A run on disk: its recipe, its numbers, its student."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import CheckpointError, RecipeError


class Metrics:
    """Lines of metrics.jsonl, in order."""

    def __init__(self, path: Path):
        self.path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.path.is_file():
            return
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                try:
                    yield json.loads(line)
                except ValueError:  # the last line of a run that is being written, or was killed
                    continue

    def evaluations(self) -> list[dict[str, Any]]:
        """The lines of evaluations: {"step": ..., "evaluation": {...}}."""
        return [line for line in self if "evaluation" in line]

    def to_pandas(self) -> Any:
        """A data frame: a row per line, evaluations in columns named evaluation.<metric>."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas. Without it: list(run.metrics)") from error
        rows = []
        for line in self:
            found = {f"evaluation.{k}": v for k, v in line.get("evaluation", {}).items()}
            rows.append({k: v for k, v in line.items() if k != "evaluation"} | found)
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        lines = list(self)
        return f"Metrics({len(lines)} lines, up to step {lines[-1]['step'] if lines else 0}, {self.path})"


class Run:
    """The folder that a run left, or is writing. Nothing is loaded before it is asked for."""

    def __init__(self, path: str | os.PathLike, *, recipe: Any = None, built: Any = None):
        """`recipe` or `built` stand in for what recipe.yaml cannot hold: components given as Python objects."""
        self.path = Path(path)
        if not (self.path / "recipe.yaml").is_file():
            raise RecipeError(f"no run in {self.path}: it has no recipe.yaml. `limbeck distill` makes such folders")
        if built is not None:
            self.__dict__["built"] = built
            recipe = built.recipe
        if recipe is not None:
            self.__dict__["recipe"] = recipe

    @cached_property
    def recipe(self) -> Any:
        from limbeck.recipes import load

        return load(self.path / "recipe.yaml")

    @property
    def info(self) -> dict[str, Any]:
        """run.json: versions, seed, hardware, command, history."""
        try:
            return json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    @property
    def status(self) -> str:
        """running, finished, interrupted or failed. `running` may also have been killed."""
        return self.info.get("status", "unknown")

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.path / "metrics.jsonl")

    @property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json: the final table, `rows` and `better`."""
        try:
            return json.loads((self.path / "evaluation.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {"rows": [], "better": {}}

    @cached_property
    def built(self) -> Any:
        from limbeck.build import build

        return build(self.recipe)

    def checkpoint(self) -> Any:
        """The newest checkpoint whose hashes are right."""
        from limbeck.engine.checkpoint import last_good

        found, _ = last_good(self.path / "checkpoints")
        if found is None:
            raise CheckpointError(f"{self.path} has no checkpoint yet. Go on: limbeck distill --resume {self.path}")
        return found

    def generator(self, *, ema: bool = True) -> Any:
        """The student with the weights of the last good checkpoint: averaged, or as trained with `ema=False`."""
        from limbeck.build import generator_file, load_weights

        checkpoint = self.checkpoint()
        stem = generator_file(checkpoint, ema)
        generator = self.built.generator
        load_weights(generator, checkpoint.tensors(stem), str(checkpoint.path / f"{stem}.safetensors"))
        return generator.eval().requires_grad_(False)

    def sample(self, n: int = 64, cond: Any = None, seed: int = 0, steps: int | None = None) -> Any:
        """`n` samples of the student, as its recipe samples it. Equal seeds give equal samples.

        Args:
            cond: conditions: a tensor or list of `n`, or one value for all; drawn in the data's proportions when None.
            steps: steps of the sampler, instead of the recipe's.
        """
        from limbeck.samples import balanced_conditions, generate

        built, network = self.built, self.generator()
        if built.sampler is None:
            raise RecipeError("this run's recipe has no sampling block, so it is not known how to sample its student")
        given = conditions(cond, n) if cond is not None else balanced_conditions(built.data, n, seed)
        made = generate(network, built.sampler, steps=steps or built.sampling_steps, count=n, cond=given, seed=seed)
        return made.samples

    def evaluate(self, *, samples: int | None = None, seed: int | None = None) -> list[dict[str, Any]]:
        """Measure the student beside its teacher; rows of the table, which also goes to evaluation.json."""
        from limbeck.evaluation import compare

        return compare(self.built, self.generator(), samples=samples, seed=seed, folder=self.path)

    def report(self) -> Path:
        """Write report.html; its path."""
        from limbeck import report

        return report.write(self)

    def export(self, to: str, directory: str | os.PathLike, **options: Any) -> list[Path]:
        """Write the student as an ordinary artefact (limbeck list exporters); the files written."""
        from limbeck.registry import create

        return create("exporter", to, run=self, directory=Path(directory), **options)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.status}, step {self.info.get('step', 0)})"


def conditions(cond: Any, n: int) -> Any:
    """What a person gives as condition, as a batch of `n`."""
    if isinstance(cond, Tensor) and cond.ndim:
        found: Any = cond
    elif isinstance(cond, Sequence) and not isinstance(cond, str) and all(isinstance(c, int | float) for c in cond):
        found = torch.tensor(list(cond))
    elif isinstance(cond, int | float):
        return torch.full((n,), cond)
    elif isinstance(cond, Tensor):
        return cond.expand(n).clone()
    elif isinstance(cond, str):
        return [cond] * n
    elif isinstance(cond, Mapping):
        raise RecipeError(f"conditions are one value or a list of {n}; got a mapping")
    else:
        found = list(cond)
    if len(found) == n:
        return found
    if len(found) < n and n % len(found) == 0:
        times = n // len(found)
        return torch.cat([found] * times) if isinstance(found, Tensor) else [*found] * times
    raise RecipeError(f"{len(found)} conditions for {n} samples; give one, {n}, or a number of them that divides {n}")
