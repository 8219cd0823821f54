"""`make check`: ruff and mypy on what a change touches, and the tests that belong to it.

A change is what differs from a commit (`make check SINCE=main`; by default HEAD: what is not committed yet), untracked
files included. Its tests are the changed tests, those in the folder that mirrors a changed module, and those that
import one by name. `make test` remains the check of everything: this one is for the minutes in between.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = ("conftest.py", "support/")  # what every test of a distribution may use


def changed(base: str, root: Path = ROOT) -> list[Path]:
    """Files that differ from `base` or are new, relative to the root; deleted ones are left out."""
    listed = ["git", "-C", str(root)]
    names = subprocess.run([*listed, "diff", "--name-only", base, "--"], capture_output=True, text=True, check=True)
    new = subprocess.run(
        [*listed, "ls-files", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    found = sorted({*names.stdout.splitlines(), *new.stdout.splitlines()})
    return [Path(name) for name in found if (root / name).is_file()]


def module_of(path: Path) -> str | None:
    """`core/src/limbeck/process/gaussian.py` -> `limbeck.process.gaussian`; None for what is no module of ours."""
    parts = path.with_suffix("").parts
    if path.suffix != ".py" or "src" not in parts:
        return None
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


def mirrored(path: Path) -> Path | None:
    """The folder of tests of a module: `core/src/limbeck/process/x.py` -> `core/tests/process`."""
    parts = path.parts
    if "src" not in parts:
        return None
    at = parts.index("src")
    return Path(*parts[:at], "tests", *parts[at + 2 : -1])


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file; `from a import b` names `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def tests_of(change: Iterable[Path], root: Path = ROOT) -> list[Path]:
    """Test files that belong to a change, relative to the root."""
    files = [p.relative_to(root) for top in ("core", "plugins", "tests") for p in (root / top).rglob("test_*.py")]
    change = list(change)
    modules = {module for path in change if (module := module_of(path))}
    folders = {folder for path in change if (folder := mirrored(path))}
    shared = {path.parts[: path.parts.index("tests") + 1] for path in change
              if "tests" in path.parts and any(mark in path.as_posix() for mark in SHARED)}  # fmt: skip
    return sorted(
        file
        for file in files
        if file in change
        or (file.parent in folders and file.parent.name != "tests")
        or any(file.parts[: len(parts)] == parts for parts in shared)
        or (modules and imports(root / file) & modules)
    )


def main(base: str = "HEAD") -> int:
    change = changed(base)
    if not change:
        print(f"nothing differs from {base}; name another commit: make check SINCE=main")
        return 0
    python = [path for path in change if path.suffix == ".py"]
    tests = tests_of(change)
    print(f"{len(change)} changed files, {len(tests)} test files")
    steps = []
    if python:
        steps += [["ruff", "check", "--quiet", *python], ["ruff", "format", "--check", "--quiet", *python]]
    if any(module_of(path) for path in python):
        steps.append(["mypy"])  # with its cache, only what depends on the change is read again
    if tests:
        steps.append(["pytest", *tests])
    for step in steps:
        command = [sys.executable, "-m", *map(str, step)]
        if (status := subprocess.run(command, cwd=ROOT).returncode) not in (0, 5):  # 5: only slow tests among them
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
