"""Which objective runs on which modality, from the abilities that manifests declare. Nothing is imported.

A modality may have several families of models: language models and masked diffusion, scenes and the pixel models that
teach them. An objective runs on a modality when it runs on one consistent choice of partners: a generator, a teacher
of the same family, and data, all of one plugin, since only they are sure to live in one space.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from limbeck.manifest import ABILITIES
from limbeck.plugins.abilities import missing, needs_of

# What a model predicts. Generator and teacher have one of these words in common; a scene, which renders, is taught by a
# teacher of what it renders. Models that declare none of them (no process, no probabilities) are not judged by this.
FAMILIES = ("log_probs", "categorical", "gaussian")


def family(component: Any) -> str:
    """The first of `FAMILIES` that a component declares, `renders` for a scene, or nothing."""
    return next((word for word in (*FAMILIES, "renders") if word in component.can), "")


def related(generator: Any, teacher: Any) -> bool:
    """Whether a teacher can teach a generator at all, by their families."""
    mine, theirs = family(generator), family(teacher)
    return not mine or not theirs or mine == theirs or (mine == "renders" and theirs == "gaussian")


@dataclass(frozen=True)
class Partners:
    """A generator with a teacher and data of its own plugin, either of which may be absent. Registry entries."""

    generator: Any
    teacher: Any = None
    data: Any = None

    def names(self) -> dict[str, str]:
        """Role -> qualified name of those that are there."""
        return {role: entry.qualified for role, entry in vars(self).items() if entry is not None}

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(self.names().values()))


def partners(registry: Any, objective: Any, modality: str | None = None) -> Iterator[Partners]:
    """Every consistent choice on a modality (on all when None); with a teacher when the objective needs one, without
    one otherwise."""
    needs = needs_of(registry, objective)
    for generator in registry.components("generator"):
        own = generator.component.modality
        if modality is not None and own != modality:
            continue
        home = [
            [e for e in registry.components(role, None if own == "any" else own) if e.plugin == generator.plugin]
            for role in ("teacher", "data")
        ]
        teachers = [e for e in home[0] if related(generator.component, e.component)] if needs.teacher else []
        teachers.sort(key=lambda e: e.component.name != generator.component.name)  # its own namesake first
        for teacher in teachers or [None]:
            for data in home[1] or [None]:
                yield Partners(generator, teacher, data)


def lacking(registry: Any, objective: Any, chosen: Partners) -> list[tuple[str, str]]:
    """(role, ability) of everything that these partners miss."""
    return missing(registry, objective, None, chosen.generator, chosen.teacher, chosen.data)


def possible(registry: Any, objective: Any, modality: str | None = None) -> list[Partners]:
    """The choices that miss nothing. Of data sets that all fit, the first one alone: they differ in rows, not in
    kind."""
    found: dict[tuple[Any, Any], Partners] = {}
    for chosen in partners(registry, objective, modality):
        if not lacking(registry, objective, chosen):
            key = (chosen.generator.qualified, chosen.teacher.qualified if chosen.teacher else None)
            found.setdefault(key, chosen)
    return list(found.values())


def missing_on(registry: Any, objective: Any, modality: str) -> list[tuple[str, str]]:
    """(role, ability) that the best choice of partners on the modality misses; empty when the objective runs on it."""
    choices = [lacking(registry, objective, chosen) for chosen in partners(registry, objective, modality)]
    return min(choices, key=len) if choices else [("generator", "none installed")]


def table(registry: Any, modality: str | None = None) -> list[dict[str, Any]]:
    """A row per objective: its name, its plugin, per modality `runs` or what is missing, and `partners`: per modality
    the choices with which it runs, as names by role."""
    modalities = [modality] if modality else [m for m in registry.modalities() if _has_models(registry, m)]
    rows = []
    for entry in registry.components("objective"):
        row: dict[str, Any] = {"name": entry.component.name, "plugin": entry.plugin}
        row |= {m: cell(missing_on(registry, entry, m)) for m in modalities}
        row["partners"] = {m: [chosen.names() for chosen in possible(registry, entry, m)] for m in modalities}
        rows.append(row)
    return rows


def _has_models(registry: Any, modality: str) -> bool:
    """Whether anything of the modality could be trained or taught: a metric alone makes no column."""
    return any(e.component.modality == modality for role in ("generator", "teacher") for e in registry.components(role))


def cell(lacking: list[tuple[str, str]]) -> str:
    """`runs`, or what is missing in words."""
    if not lacking:
        return "runs"
    return "no " + ", ".join(f"{role}" if word not in ABILITIES else f"{word} ({role})" for role, word in lacking)
