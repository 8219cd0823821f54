"""The lists of objectives in the documentation, written from the manifests: index, navigation and README.

    python tools/objective_index.py            writes them
    python tools/objective_index.py --check    exits 1 when a file does not say what the manifests say

Between the lines (or comments in a line) `generated: objectives` and `generated: end` of docs/objectives/index.md,
mkdocs.yml and README.md; in README.md once per distribution, `generated: objectives of limbeck-text`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from limbeck.manifest import Component
from limbeck.plugins.registry import registry

ROOT = Path(__file__).parents[1]
FAMILIES = {
    "distribution": "Distribution matching",
    "trajectory": "Trajectories",
    "regression": "Regression",
    "token divergence": "Token divergences",
    "pretraining": "Pretraining",
}  # those that come first; others follow by their own names


def objectives() -> list[tuple[str, Component]]:
    """(distribution, objective) of the distributions in this repository, by family and in the order of manifests."""
    ours = {f"limbeck-{path.name}" for path in (ROOT / "plugins").iterdir()}
    rows = [
        (row.distribution, component)
        for row in registry.plugins()
        if row.distribution in ours
        for component in row.components
        if component.kind == "objective"
    ]
    order = list(dict.fromkeys([*FAMILIES, *(family(component) for _, component in rows)]))
    return sorted(rows, key=lambda row: order.index(family(row[1])))


def family(component: Component) -> str:
    return component.details.get("family", "other")


def by_family() -> Iterator[tuple[str, list[tuple[str, Component]]]]:
    rows = objectives()
    for name in dict.fromkeys(family(component) for _, component in rows):
        yield FAMILIES.get(name, name.capitalize()), [row for row in rows if family(row[1]) == name]


# --- what is written -------------------------------------------------------------------------------------------------


def needs(distribution: str, component: Component) -> str:
    """What it needs with its default options: `generator: sampling; teacher: denoiser`."""
    options = registry.options_model("objective", f"{distribution}/{component.name}")()
    needed = component.needs | options.needs() if hasattr(options, "needs") else component.needs
    by_role = needed.by_role()
    return "; ".join(f"{role}: {', '.join(sorted(words))}" for role, words in by_role.items() if words)


def index() -> str:
    parts = []
    for title, entries in by_family():
        rows = ["| name | best for | cost | needs |", "| --- | --- | --- | --- |"]
        for distribution, c in entries:
            best, cost = c.details.get("best for", c.summary), c.details.get("cost", "")
            rows.append(f"| [`{c.name}`]({c.name}.md) | {best} | {cost} | {needs(distribution, c)} |")
        parts.append("\n".join([f"## {title}", "", *rows]))
    return "\n" + "\n\n".join(parts) + "\n"


def navigation() -> str:
    lines = []
    for title, entries in by_family():
        lines.append(f"      - {title}:")
        lines += [f"          - {c.name}: objectives/{c.name}.md" for _, c in entries]
    return "\n".join(lines)


def links(distribution: str) -> str:
    names = [component.name for brought_by, component in objectives() if brought_by == distribution]
    return ", ".join(f"[{name}](docs/objectives/{name}.md)" for name in names)


def replaced(text: str, start: str, end: str, write: Callable[[re.Match[str]], str], path: Path) -> str:
    """The text with what lies between the marks written anew."""
    pattern = re.compile(f"({start})(.*?)({end})", re.S)
    if not pattern.search(text):
        raise SystemExit(f"{path} has no marks {start} ... {end}")
    return pattern.sub(lambda m: m.group(1) + write(m) + m.groups()[-1], text)


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Every file that holds a list, as it should read."""
    found = {}
    path = root / "docs/objectives/index.md"
    marks = r"<!-- generated: objectives -->\n", r"<!-- generated: end -->"
    found[path] = replaced(path.read_text(), *marks, lambda m: index(), path)
    path = root / "mkdocs.yml"
    marks = r" *# generated: objectives\n", r"\n *# generated: end"
    found[path] = replaced(path.read_text(), *marks, lambda m: navigation(), path)
    path = root / "README.md"
    marks = r"<!-- generated: objectives of ([\w-]+) -->", r"<!-- generated: end -->"
    found[path] = replaced(path.read_text(), *marks, lambda m: links(m.group(2)), path)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not as it should be")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if path.read_text() != text}
    for path, text in stale.items():
        print(f"{path.relative_to(ROOT)}: {'not what the manifests say' if check else 'written'}")
        if not check:
            path.write_text(text)
    if check and stale:
        print("Run: python tools/objective_index.py")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
