"""A run folder as plain values. Imports no torch; whatever is missing or torn (a run in progress) is simply absent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import LimbeckError


@dataclass(frozen=True)
class Record:
    """What the files of a run hold."""

    path: Path
    recipe_text: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)  # lines of metrics.jsonl about one phase of one step
    evaluations: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    timings: list[dict[str, float]] = field(default_factory=list)
    table: Mapping[str, Any] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)  # (folder, reason)
    torn_lines: int = 0

    @property
    def name(self) -> str:
        return str(self.block("report").get("title") or self.recipe.get("name") or self.path.name)

    @property
    def last_step(self) -> int:
        return max((line["step"] for line in self.steps), default=max((s for s, _ in self.evaluations), default=0))

    @property
    def planned_steps(self) -> int | None:
        return self.block("train").get("steps")

    @property
    def status(self) -> str:
        """finished, interrupted, failed or running."""
        given = str(self.run.get("status") or "")
        if given:
            return given
        return "finished" if self.planned_steps and self.last_step >= self.planned_steps else "running"

    @property
    def has_teacher(self) -> bool:
        return bool(self.recipe.get("teacher"))

    def block(self, name: str) -> Mapping[str, Any]:
        """One block of the recipe; `{use: name}` when it is written as a bare name."""
        block = self.recipe.get(name)
        if isinstance(block, str):
            return {"use": block}
        return block if isinstance(block, Mapping) else {}

    def rows(self) -> dict[str, Mapping[str, Any]]:
        """Rows of the final table by role."""
        return {row.get("role") or row["name"]: row for row in self.table.get("rows", ())}


def read(path: Path) -> Record:
    path = Path(path)
    if not path.is_dir():
        raise LimbeckError(f"no run at '{path}': expected a folder that `limbeck distill` or `limbeck pretrain` made")
    if not any((path / name).exists() for name in ("recipe.yaml", "run.json", "metrics.jsonl")):
        raise LimbeckError(f"'{path}' is not a run: it has neither recipe.yaml, run.json nor metrics.jsonl")
    text = (path / "recipe.yaml").read_text(encoding="utf-8") if (path / "recipe.yaml").exists() else ""
    recipe = yaml.safe_load(text) if text else {}
    lines, torn = _lines(path / "metrics.jsonl")
    timings, _ = _lines(path / "timings.jsonl")
    return Record(
        path=path.resolve(),
        recipe_text=text,
        recipe=recipe if isinstance(recipe, Mapping) else {},
        run=_json(path / "run.json"),
        steps=[line for line in lines if "evaluation" not in line and "step" in line],
        evaluations=[(line["step"], line["evaluation"]) for line in lines if "evaluation" in line and "step" in line],
        timings=timings,
        table=_json(path / "evaluation.json"),
        failures=_failures(path / "failures"),
        torn_lines=torn,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Lines of a JSONL file and the number that could not be read (the last one of a run that is being written)."""
    if not path.exists():
        return [], 0
    found, torn = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            torn += bool(line.strip())
            continue
        if isinstance(value, dict):
            found.append(value)
    return found, torn


def _failures(folder: Path) -> list[tuple[str, str]]:
    """(folder, what happened) of every failure whose evidence was kept."""
    if not folder.is_dir():
        return []
    return [(path.name, _reason(_json(path / "reason.json"))) for path in sorted(folder.iterdir()) if path.is_dir()]


def _reason(reason: Mapping[str, Any]) -> str:
    if "term" not in reason:
        return ""
    many = f" in {reason['bad_samples']} of {reason['samples']} samples" if reason.get("bad_samples") else ""
    where = f"Step {reason.get('step')}, phase {reason.get('phase')}"
    fields = ", ".join(reason.get("not_finite_in_batch") or ())
    return f"{where}: {reason['term']} was {reason.get('value')}{many}." + (
        f" The batch itself was not finite ({fields})." if fields else ""
    )
