"""Shared code never branches on the name of a method: what differs between methods is an option or an ability."""

import ast
from pathlib import Path

from limbeck.plugins.registry import registry

ROOT = Path(__file__).parents[1]
NAMES = {entry.component.name for entry in registry.components("objective")}
SHARED = [*(ROOT / "core/src").rglob("*.py"), *(ROOT / "plugins/diffusion/src/limbeck_diffusion").rglob("*.py")]


def compared(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, text) of every string that something is compared with: ==, !=, in, not in, case."""
    found = []
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        sides += [node.value] if isinstance(node, ast.MatchValue) else []
        for side in sides:
            for part in ast.walk(side) if isinstance(side, ast.Constant | ast.Tuple | ast.Set | ast.List) else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.append((part.lineno, part.value))
    return found


# Words that are objectives' names and something else too: a weight of the field, the options of a sampler.
OTHERWISE = {"sds": "formulas/fields.py"}


def test_shared_code_never_branches_on_the_name_of_a_method():
    assert {"dmd2", "consistency", "sds"} <= NAMES
    found = [
        f"{path.relative_to(ROOT)}:{line} compares with {text!r}"
        for path in SHARED
        for line, text in compared(ast.parse(path.read_text(encoding="utf-8")))
        if text in NAMES and not path.as_posix().endswith(OTHERWISE.get(text, " "))
    ]
    assert not found, "\n".join(found)


def test_a_branch_on_a_name_would_be_found():
    code = "if name == 'dmd2' or name in ('sds', 'csd'):\n    pass\nmatch kind:\n    case 'vsd':\n        pass\n"
    assert [text for _, text in compared(ast.parse(code))] == ["dmd2", "sds", "csd", "vsd"]
