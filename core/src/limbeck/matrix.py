"""Which objective runs on which modality, from the abilities that manifests declare. Nothing is imported."""

from typing import Any

from limbeck.manifest import ABILITIES

ROLES = ("generator", "teacher", "data")


def missing_on(registry: Any, objective: Any, modality: str) -> list[tuple[str, str]]:
    """(role, ability) that no installed component of the modality offers; empty when the objective runs on it.

    For every role the partner that lacks least is taken: a teacher that nothing is asked of may be absent.
    """
    lacking: list[tuple[str, str]] = []
    for role, words in registry.needs_of(objective).by_role().items():
        offers = [e.component.can for e in registry.components(role, modality)]
        if role == "generator" and not offers:
            lacking.append((role, "none installed"))
        elif words:
            lacking += [(role, word) for word in min((sorted(words - can) for can in offers or [frozenset()]), key=len)]
    return lacking


def table(registry: Any, modality: str | None = None) -> list[dict[str, Any]]:
    """A row per objective: its name, its plugin and, per modality, `runs` or what is missing."""
    modalities = [modality] if modality else registry.modalities()
    return [
        {
            "name": entry.component.name,
            "plugin": entry.plugin,
            **{m: cell(missing_on(registry, entry, m)) for m in modalities},
        }
        for entry in registry.components("objective")
    ]


def cell(lacking: list[tuple[str, str]]) -> str:
    if not lacking:
        return "runs"
    return "no " + ", ".join(f"{role}" if word not in ABILITIES else f"{word} ({role})" for role, word in lacking)
