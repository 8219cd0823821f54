"""docs/api.md is true: its names exist, and plugins, examples and pages use no others of core.

Sources are read as text, so a lazy import counts too, and so does a name that is reached through an imported module.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import limbeck

ROOT = Path(__file__).parents[1]

Name = tuple[str, str]  # (module, name); the name of a module itself is ""

_ROW = re.compile(r"^\| (?P<names>`.*?`) \| `(?P<module>limbeck[\w.]*)` \|", re.MULTILINE)


def listed(page: str) -> set[Name]:
    """(module, name) of every row of the tables of the page."""
    rows = _ROW.finditer(page)
    return {(row["module"], name) for row in rows for name in re.findall(r"`(\w+)`", row["names"])}


def imported(source: str) -> Iterator[tuple[Name, int]]:
    """(module, name) and line of everything of core that a source takes by `from ... import` or through a module."""
    tree, modules = ast.parse(source), {}  # name in the source -> module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and of_core(node.module):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if is_module(whole):
                    modules[alias.asname or alias.name] = whole
                else:
                    yield (node.module, alias.name), node.lineno
        elif isinstance(node, ast.Import):
            for alias in filter(lambda alias: of_core(alias.name), node.names):
                modules |= {alias.asname: alias.name} if alias.asname else {"limbeck": "limbeck"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node.value).partition(".")
            whole = ".".join(filter(None, (modules.get(first), rest)))
            if first in modules and is_module(whole) and not is_module(f"{whole}.{node.attr}"):
                yield (whole, node.attr), node.lineno


def of_core(module: str) -> bool:
    return module == "limbeck" or module.startswith("limbeck.")


@cache
def is_module(name: str) -> bool:
    try:
        return name.replace(".", "").isidentifier() and find_spec(name) is not None
    except ModuleNotFoundError:
        return False


STABLE = listed((ROOT / "docs/api.md").read_text())
SOURCES = {
    path.relative_to(ROOT).as_posix(): [(path.read_text(), 0)]
    for pattern in ("plugins/*/src/**/*.py", "examples/**/*.py")
    for path in sorted(ROOT.glob(pattern))
}
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
for pattern in ("*.md", "docs/**/*.md", "core/*.md", "plugins/*/*.md", "examples/**/*.md"):
    for path in sorted(ROOT.glob(pattern)):
        page = path.read_text()
        found = [(match[1], page.count("\n", 0, match.start(1))) for match in _BLOCK.finditer(page)]
        SOURCES |= {path.relative_to(ROOT).as_posix(): found} if found else {}


def is_stable(module: str, name: str) -> bool:
    """Listed, part of `limbeck.testing`, or a public name taken from the module that holds it."""
    if module == "limbeck.testing":
        return name in import_module(module).__all__
    held = module if module == "limbeck" else limbeck._LAZY.get(name)
    return (module, name) in STABLE or (held == module and name in limbeck.__all__)


def test_every_stable_name_exists():
    assert len(STABLE) > 100
    for module, name in sorted(STABLE):
        assert hasattr(import_module(module), name), f"docs/api.md lists {name} of {module}, which has no such name"
    assert {name for _, name in STABLE} | {"__version__"} >= set(limbeck.__all__)


def test_no_name_is_listed_that_nothing_uses():
    used = {name for texts in SOURCES.values() for text, _ in texts for name, _ in imported(text)}
    assert not {name for name in STABLE - used if name[1] not in limbeck.__all__}, "what nobody needs is not promised"


@pytest.mark.parametrize("source", SOURCES)
def test_only_stable_names_of_core_are_used(source):
    for text, above in SOURCES[source]:
        for (module, name), line in imported(text):
            assert is_stable(module, name), f"line {above + line}: {module}.{name} is not in docs/api.md"


@pytest.mark.parametrize(
    "source",
    [
        "from limbeck.engine.loop import train",
        "def later():\n    from limbeck.engine import loop\n    loop.train()",
        "import limbeck\nlimbeck.engine.loop.train()",
        "import limbeck.engine.loop as loop\nloop.train",
        "from limbeck.interfaces import _private",
    ],
)
def test_other_names_are_found_however_they_are_reached(source):
    assert [name for name, _ in imported(source) if not is_stable(*name)]
