"""What an objective needs of its partners, and what they lack: read from manifests, before any weights load."""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.manifest import ABILITIES, Needs
from limbeck.plugins.index import Entry
from limbeck.plugins.registry import Registry

ROLES = ("generator", "teacher", "data")


def needs_of(registry: Registry, objective: Entry, options: Mapping[str, Any] | None = None) -> Needs:
    """The manifest's needs and those of these options; of the manifest alone when it names no options model, or when
    they are wrong or incomplete, which is another error."""
    needs = objective.component.needs
    if objective.component.options is None:
        return needs
    model = registry.options_model("objective", objective.qualified)
    try:
        chosen = model.model_validate(dict(options or {}))
    except ValueError:
        return needs
    return needs | chosen.needs() if hasattr(chosen, "needs") else needs


def missing(
    registry: Registry,
    objective: Entry,
    options: Mapping[str, Any] | None = None,
    generator: Entry | None = None,
    teacher: Entry | None = None,
    data: Entry | None = None,
) -> list[tuple[str, str]]:
    """(role, ability) of everything the objective needs and its partners lack; an absent partner has no abilities."""
    partners = {"generator": generator, "teacher": teacher, "data": data}
    can = {role: partner.component.can if partner else frozenset() for role, partner in partners.items()}
    needs = needs_of(registry, objective, options).by_role()
    return [(role, word) for role, words in needs.items() for word in sorted(words - can[role])]


def explain_missing(
    registry: Registry,
    objective: Entry,
    missing_words: Sequence[tuple[str, str]],
    partners: Mapping[str, Entry | None],
) -> str:
    """What is missing, who offers it, and which objectives work on this generator."""
    lines = []
    for role in dict.fromkeys(role for role, _ in missing_words):
        words = [word for r, word in missing_words if r == role]
        partner = partners.get(role)
        lines.append(f"objective {objective.component.name!r} needs of the {role}:")
        lines += [f"  {word}: {ABILITIES[word]}" for word in words]
        if partner is None:
            lines.append(f"  The recipe has no {role}.")
        else:
            lines.append(f"  {partner.qualified!r} offers {', '.join(sorted(partner.component.can)) or 'nothing'}.")
        offer = [e.qualified for e in registry.components(role) if set(words) <= e.component.can]
        lines.append(
            f"  {'These' if offer else 'No installed'} {role}s offer it" + (f": {', '.join(offer)}." if offer else ".")
        )
    fits = [
        entry.component.name
        for entry in registry.components("objective")
        if entry != objective and not missing(registry, entry, None, *(partners.get(role) for role in ROLES))
    ]
    if fits:
        lines.append(
            f"Objectives that work on these partners: {', '.join(fits[:12])}{', ...' if len(fits) > 12 else ''}."
        )
    return "\n".join(lines)
