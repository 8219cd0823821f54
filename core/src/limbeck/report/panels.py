"""Sections that plugins add to the reports of their modality: components of kind `panel`.

A panel is `panel(run) -> limbeck.report.Fragment | None`: any object with a `title` and `html()`, which needs nothing
outside itself; None where it has nothing to show. One that fails costs one line of the report.
"""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from limbeck.errors import LimbeckError


@dataclass(frozen=True)
class Section:
    """A section of the page; `problem` in the place of `html` when the panel failed."""

    title: str
    html: Markup | None = None
    problem: str = ""


def sections_of(run: Any, generator: str) -> list[Section]:
    """What the panels of a generator's modality have to show. `run` is a `limbeck.Run`."""
    from limbeck.plugins.registry import registry

    try:
        modality = registry.find("generator", generator).component.modality
    except LimbeckError:  # a generator given as an object, or of a plugin that is gone
        modality = "any"
    found = []
    for entry in registry.components("panel", modality):
        title = entry.component.summary or entry.component.name
        try:
            shown = registry.resolve("panel", entry.qualified)(run)
            if shown is not None:
                found.append(Section(str(getattr(shown, "title", title)), Markup(shown.html())))
        except Exception as error:  # a report must be written whatever a panel does
            reason = str(error) if isinstance(error, LimbeckError) else f"{type(error).__name__}: {error}"
            line = reason.strip().partition("\n")[0]
            found.append(Section(title, problem=f"{entry.qualified} could not be shown: {line}"))
    return found
