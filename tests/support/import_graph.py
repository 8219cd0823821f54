"""The import graph of a package, read from its source: which module names which, wherever in the file.

What counts as an import:

- a lazy one, inside a function, as much as one at the top of the file: putting an import off hides a circle, it does
  not cut it;
- not one under `if TYPE_CHECKING:`, which never runs: it names a type for checkers, so that an annotation may mention
  what is built later. (`limbeck/__init__.py` repeats its whole table of public names there.)
- `from package import name` is an import of the module `package.name` where there is one, else of `package`. That
  Python runs the `__init__` of every package on the way is no arrow of its own: a room's `__init__` re-exports its
  modules, and each of them would stand in a circle with it.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = dict[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, name: str = "", *, typing: bool = False) -> Iterator[str]:
    """Dotted names that a file imports, `package.attribute` included; with `typing`, those for type checkers too.
    `name` is the file's own, for relative imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree) if typing else _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, `if TYPE_CHECKING:` blocks left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            children: list[ast.AST] = list(child.orelse)
        else:
            children = [child]
        for one in children:
            yield one
            yield from _running(one)


def import_graph(package: Path) -> Graph:
    """Module -> modules of the same package that it imports."""
    files = modules(package)
    graph: Graph = {}
    for name, path in files.items():
        targets = (target if target in files else target.rpartition(".")[0] for target in imports(path, name))
        graph[name] = {target for target in targets if target in files and target != name}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others: strongly connected components of more
    than one (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return sorted(found)


def room_of(name: str) -> str:
    """limbeck.engine.loop -> engine; limbeck.engine -> engine; limbeck.manifest -> manifest; limbeck -> limbeck."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def upward(graph: Graph, floors: Mapping[str, int]) -> list[str]:
    """`module -> module` for every import of a room on a higher floor. Rooms on one floor see each other."""
    arrows = [(name, target) for name, targets in graph.items() for target in targets]
    return sorted(f"{a} -> {b}" for a, b in arrows if floors[room_of(a)] < floors[room_of(b)])
