"""`limbeck plugins doctor`: what is wrong with the installed plugins, and how to mend it."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any


@dataclass(frozen=True)
class Finding:
    level: str  # error or warning
    distribution: str
    message: str
    fix: str = ""


def findings(registry: Any) -> list[Finding]:
    found = []
    for row in registry.plugins():
        if row.status == "disabled":
            found.append(Finding("note", row.distribution, f"disabled: {row.reason}", row.fix))
        elif row.status != "ok":
            found.append(Finding("error", row.distribution, f"{row.status}: {row.reason}", row.fix))
        found += [Finding("warning", row.distribution, text) for text in row.warnings]
    for name in sorted({row.distribution for row in registry.plugins()}):
        found += requirement_findings(name)
    return found


def requirement_findings(name: str) -> list[Finding]:
    """Requirements of a distribution that the environment does not meet: pip leaves them behind with exit status 0."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        requires = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    found = []
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            found.append(Finding("warning", name, f"its requirement {text!r} cannot be read"))
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            have = ""
        wants = f"{canonicalize_name(requirement.name)}{requirement.specifier}"
        if not have:
            found.append(Finding("error", name, f"needs {wants}, which is not installed", f'pip install "{wants}"'))
        elif not requirement.specifier.contains(have, prereleases=True):
            found.append(Finding("error", name, f"needs {wants}; installed is {have}", f'pip install "{wants}"'))
    return found
