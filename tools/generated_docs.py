"""Tables of the documentation that the registry knows: methods by family, navigation, README's list, modality pages.

    python tools/generated_docs.py          # rewrites what stands between the markers; `make docs` does it
    python tools/generated_docs.py --check  # names the files that would change, and fails

A part begins with `generated: NAME` in a comment and ends with `end of NAME`; everything outside is written by hand.
A test holds every part against the installed manifests, so a method appears here by its row in a manifest.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from limbeck import registry
from limbeck.catalogue import matrix
from limbeck.plugins.index import Entry
from limbeck.recipe import load

ROOT = Path(__file__).parents[1]
OBJECTIVES = ROOT / "docs/objectives"
OURS = {"limbeck", *(f"limbeck-{folder.name}" for folder in (ROOT / "plugins").iterdir())}
MODALITIES = ("image", "video", "audio", "3d", "text")

# Titles of the families and what their methods have in common; the order is that of the pages.
FAMILIES = {
    "distribution": (
        "Distribution matching",
        "Samples of the student move along the difference of two scores, the teacher's and their own. "
        "One call or few, no data.",
    ),
    "trajectory": (
        "Trajectories",
        "The student learns to jump along the teacher's own sampling trajectory, in as many calls as one can afford.",
    ),
    "regression": ("Regression", "The student learns stored pairs of noise and teacher sample. Simple, and stable."),
    "token divergence": (
        "Token divergences",
        "Two language models are compared token by token: a smaller student, or a better one of the same size.",
    ),
    "pretraining": ("Pretraining", "No teacher: these make teachers, and the baselines that students have to beat."),
}

_MARKED = re.compile(
    r"(?P<open>(?:<!--|#) generated: (?P<name>[\w ]+?)(?: -->|\n))"
    r"(?P<body>.*?)"
    r"(?P<close>[ ]*(?:<!--|#) end of (?P=name))",
    re.DOTALL,
)


def ours(kind: str, modality: str | None = None) -> list[Entry]:
    """What the distributions of this repository bring, in the order of their manifests, whatever else is installed."""
    entries = [entry for entry in registry.components(kind) if entry.distribution in OURS]
    order = [(row.distribution, component) for row in registry.plugins() for component in row.components]
    entries.sort(key=lambda entry: order.index((entry.distribution, entry.component)))
    return [entry for entry in entries if modality in (None, entry.component.modality)]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, or nothing when there is no row."""
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    head = list(head)
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *lines]) if lines else ""


# --- methods ---------------------------------------------------------------------------------------------------------


def by_family() -> dict[str, list[Entry]]:
    """Title of a family -> its objectives, by name; families without a title of their own follow."""
    families: dict[str, list[Entry]] = {family: [] for family in FAMILIES}
    for entry in ours("objective"):
        families.setdefault(entry.component.details.get("family", "other"), []).append(entry)
    return {family: entries for family, entries in families.items() if entries}


def title(family: str) -> str:
    """`distribution` -> `Distribution matching`."""
    return FAMILIES[family][0] if family in FAMILIES else family.capitalize()


def runs_on(entry: Entry) -> list[str]:
    """Modalities of this repository on which an objective has the partners it needs."""
    return [modality for modality in MODALITIES if not matrix.missing_on(registry, entry, modality)]


def link(entry: Entry, page: Path) -> str:
    """A link to the page of an objective, as seen from a file."""
    name = entry.component.name
    return f"[`{name}`]({os.path.relpath(OBJECTIVES / f'{name}.md', page.parent)})"


def row(entry: Entry, page: Path, *details: str) -> list[str]:
    """A method's link and details of its manifest; its summary where it does not state what it is best for."""
    facts = {"best for": entry.component.summary, **entry.component.details}
    return [link(entry, page), *(facts.get(name, "") for name in details)]


def methods(page: Path, modality: str | None = None) -> str:
    """A table per family, of all methods or of those that run on a modality."""
    parts = []
    for family, entries in by_family().items():
        fitting = [entry for entry in entries if modality is None or modality in runs_on(entry)]
        if not fitting:
            continue
        if modality is None:
            head = ["method", "best for", "cost", "runs on", "reference"]
            rows = [[*row(e, page, "best for", "cost"), ", ".join(runs_on(e)), e.component.reference] for e in fitting]
        else:
            head = ["method", "best for", "reference"]
            rows = [[*row(e, page, "best for"), e.component.reference] for e in fitting]
        level = "##" if modality is None else "###"
        parts += [f"{level} {title(family)}", FAMILIES.get(family, ("", ""))[1], table(head, rows)]
    return "\n\n".join(filter(None, parts))


def navigation() -> str:
    """The methods in the navigation of the site, a group per family."""
    lines = []
    for family, entries in by_family().items():
        lines.append(f"      - {title(family)}:")
        lines += [f"          - {e.component.name}: objectives/{e.component.name}.md" for e in entries]
    return "\n".join(lines) + "\n"


def list_of(plugin: str, page: Path) -> str:
    """The methods that one plugin brings, as links in one line."""
    return ", ".join(link(entry, page).replace("`", "") for entry in ours("objective") if entry.plugin == plugin)


# --- modalities ------------------------------------------------------------------------------------------------------


def components(kind: str, modality: str) -> str:
    """What there is of one kind on a modality; exporters also serve several."""
    entries = ours(kind, modality) + (ours(kind, "any") if kind == "exporter" else [])
    rows = [[f"`{e.qualified}`", e.component.summary, e.component.reference] for e in entries]
    if any(row[2] for row in rows):
        return table(["name", "what it is", "reference"], rows)
    return table(["name", "what it is"], [row[:2] for row in rows])


def recipes(modality: str) -> str:
    """The recipes of a modality, with the command that runs each."""
    rows = []
    for entry in ours("recipe", modality):
        command = "pretrain" if _pretrains(entry) else "distill"
        rows.append([f"`limbeck {command} {entry.component.name}`", entry.component.summary])
    return table(["command", "what it does"], [row for row in rows if not row[0].endswith("_compare`")])


def _pretrains(entry: Entry) -> bool:
    return load(entry.component.name).teacher is None


def modality_part(modality: str, page: Path, kind: str) -> str:
    """A part of a modality's page: its methods, its recipes, or the components of a kind."""
    if kind == "methods":
        return methods(page, modality)
    return recipes(modality) if kind == "recipes" else components(kind, modality)


# --- files -----------------------------------------------------------------------------------------------------------


def pages() -> dict[Path, Callable[[str], str]]:
    """File -> function from the name of a part to its text."""
    index, readme = OBJECTIVES / "index.md", ROOT / "README.md"
    files: dict[Path, Callable[[str], str]] = {
        index: lambda name: methods(index),
        ROOT / "docs/index.md": lambda name: str(len(ours("objective"))),
        ROOT / "mkdocs.yml": lambda name: navigation(),
        readme: lambda name: list_of(name.removeprefix("methods of "), readme),
    }
    for modality in MODALITIES:
        page = ROOT / f"docs/modalities/{modality}.md"
        files[page] = partial(modality_part, modality, page)
    return files


def generated(path: Path, part: Callable[[str], str]) -> str:
    """The text of a file with every generated part made again."""

    def again(match: re.Match[str]) -> str:
        body = part(match["name"])
        inline = "\n" not in match["body"] and match["open"].endswith("-->")
        if not inline and match["open"].endswith("-->"):
            body = f"\n\n{body}\n\n"
        return match["open"] + body + match["close"]

    return _MARKED.sub(again, path.read_text())


def main() -> int:
    changed = {path: text for path, part in pages().items() if (text := generated(path, part)) != path.read_text()}
    for path, text in changed.items():
        if "--check" in sys.argv:
            print(f"{path.relative_to(ROOT)} is not what the manifests give; run python tools/generated_docs.py")
        else:
            path.write_text(text)
    return len(changed) if "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
