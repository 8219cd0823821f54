"""A run on disk: its recipe, its numbers, its student."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck import evaluation, report
from limbeck.engine.checkpoint import last_good
from limbeck.errors import CheckpointError, LimbeckError, RecipeError
from limbeck.plugins.registry import create, registry
from limbeck.recipe import load
from limbeck.runs.build import build, generator_file, load_weights
from limbeck.sampling import prompts
from limbeck.sampling.samples import balanced_conditions, generate


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
    """The folder that a run left, or is writing. Nothing is loaded before it is needed."""

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
        return build(self.recipe)

    def checkpoint(self) -> Any:
        """The newest checkpoint whose hashes are right."""
        found, _ = last_good(self.path / "checkpoints")
        if found is None:
            raise CheckpointError(f"{self.path} has no checkpoint yet. Go on: limbeck distill --resume {self.path}")
        return found

    def generator(self, *, ema: bool = True) -> Any:
        """The student with the weights of the last good checkpoint: averaged, or as trained with `ema=False`."""
        checkpoint = self.checkpoint()
        stem = generator_file(checkpoint, ema)
        generator = self.built.generator
        load_weights(generator, checkpoint.tensors(stem), str(checkpoint.path / f"{stem}.safetensors"))
        return generator.eval().requires_grad_(False)

    def sample(
        self, n: int = 64, cond: Any = None, seed: int = 0, steps: int | None = None, prompt: str | None = None
    ) -> Any:
        """`n` samples of the student, as its recipe samples it. Equal seeds give equal samples.

        Args:
            cond: conditions: a tensor or list of `n`, or one value for all; drawn in the data's proportions when None.
            steps: steps of the sampler, instead of the recipe's.
            prompt: a text to continue, for models of tokens.
        """
        built, network = self.built, self.generator()
        sampler, usual = self._sampler(), steps or built.sampling_steps
        if prompt is not None:
            if cond is not None:
                raise RecipeError("a prompt and a condition exclude each other: the prompt is the condition")
            tokens, usual = self._prompted(network, sampler, prompt, steps)
            given: Any = tokens.expand(n, -1)
        else:
            given = conditions(cond, n) if cond is not None else balanced_conditions(built.data, n, seed)
        made = generate(network, sampler, steps=usual, count=n, cond=given, seed=seed)
        return made.samples

    def stream(
        self, prompt: str | None = None, *, seed: int = 0, steps: int | None = None, number: int = 0
    ) -> Iterator[str]:
        """Pieces of a text as they are written: what follows the prompt, or a text that begins by itself. `number`
        distinguishes the texts of one seed. For samplers that write from left to right (`streams`)."""
        network, sampler = self.generator(), self._sampler()
        if not self.streams:
            raise RecipeError(f"the sampler {type(sampler).__name__} does not write from left to right: use sample()")
        tokens: Tensor | None = None
        if prompt is not None:
            tokens, count = self._prompted(network, sampler, prompt, steps)
        else:
            count = prompts.room(network, None, steps, self.built.sampling_steps, streams=True)
        yield from prompts.stream(network, sampler, tokens, steps=count, seed=seed, number=number)

    @property
    def streams(self) -> bool:
        """Whether the student writes from left to right, so that its texts can be read while they are written."""
        return self.writes and hasattr(self.built.sampler, "stream")

    def _sampler(self) -> Any:
        if self.built.sampler is None:
            raise RecipeError("this run's recipe has no sampling block, so it is not known how to sample its student")
        return self.built.sampler

    def _prompted(self, network: Any, sampler: Any, prompt: str, steps: int | None) -> tuple[Tensor, int]:
        """The prompt's tokens (P,) and the steps that the sampler may take behind them."""
        self.check_prompt()
        tokens = prompts.encode(network.space, prompt)
        return tokens, prompts.room(
            network, tokens, steps, self.built.sampling_steps, streams=hasattr(sampler, "stream")
        )

    @property
    def writes(self) -> bool:
        """Whether the student's samples are texts."""
        return prompts.writes(self.built.space)

    def check_prompt(self) -> None:
        """Raise when the student takes no prompt."""
        if self.writes:
            return
        who = f"the student of this run ({self.recipe.generator.use})"
        if self.recipe.shortcuts.get("prompt"):
            raise RecipeError(
                f"{who} was made for one prompt and takes none when it is sampled. Another prompt is another run: "
                f"limbeck distill {self.recipe.name} prompt='...' --out runs/NAME"
            )
        raise RecipeError(f"{who} makes {self.built.space.domain}, and takes no prompt. Its conditions: --cond")

    def evaluate(self, *, samples: int | None = None, seed: int | None = None) -> list[dict[str, Any]]:
        """Measure the student beside its teacher; rows of the table, which also goes to evaluation.json."""
        return evaluation.compare(self.built, self.generator(), samples=samples, seed=seed, folder=self.path)

    def report(self) -> Path:
        """Write report.html; its path."""
        return report.write(self)

    def export(self, to: str, directory: str | os.PathLike, **options: Any) -> list[Path]:
        """Write the student as an ordinary artefact (limbeck list exporters); the files written. A name that several
        modalities have (`gif`) means the one of the generator's own."""
        return create("exporter", self._own_exporter(to), run=self, directory=Path(directory), **options)

    def _own_exporter(self, name: str) -> str:
        named = [entry for entry in registry.components("exporter") if entry.component.name == name]
        if len(named) < 2:
            return name
        try:
            modality = registry.find("generator", self.recipe.generator.use).component.modality
        except LimbeckError:  # a generator given as an object
            return name
        mine = [entry.qualified for entry in named if entry.component.modality == modality]
        return mine[0] if len(mine) == 1 else name

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
