"""`make check` finds the tests of a change."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("check", ROOT / "tools/check.py")
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)


@pytest.fixture
def tree(tmp_path):
    """A repository of one distribution with a module, its test, a test that imports it, and one that does not."""
    files = {
        "core/src/limbeck/process/noise.py": "x = 1\n",
        "core/src/limbeck/process/other.py": "x = 1\n",
        "core/tests/process/test_noise.py": "",
        "core/tests/engine/test_loop.py": "def test_a():\n    from limbeck.process import noise\n",
        "core/tests/engine/test_else.py": "import limbeck.process.other\n",
        "core/tests/support/problem.py": "",
        "plugins/image/tests/test_pictures.py": "",
        "tests/test_all.py": "from limbeck.process.noise import x\n",
        "README.md": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def names(paths):
    return [path.as_posix() for path in paths]


def test_a_change_is_what_differs_and_what_is_new(tree):
    assert check.changed("HEAD", tree) == []
    (tree / "core/src/limbeck/process/noise.py").write_text("x = 2\n")
    (tree / "new.py").write_text("")
    (tree / "README.md").unlink()
    assert names(check.changed("HEAD", tree)) == ["core/src/limbeck/process/noise.py", "new.py"]


def test_a_module_brings_the_tests_beside_it_and_those_that_import_it(tree):
    found = check.tests_of([Path("core/src/limbeck/process/noise.py")], tree)
    assert names(found) == ["core/tests/engine/test_loop.py", "core/tests/process/test_noise.py", "tests/test_all.py"]


def test_a_test_brings_itself_a_shared_helper_all_of_its_distribution_a_page_nothing(tree):
    assert names(check.tests_of([Path("tests/test_all.py")], tree)) == ["tests/test_all.py"]
    found = check.tests_of([Path("core/tests/support/problem.py")], tree)
    assert names(found) == [
        "core/tests/engine/test_else.py", "core/tests/engine/test_loop.py", "core/tests/process/test_noise.py",
    ]  # fmt: skip
    assert check.tests_of([Path("README.md")], tree) == []


def test_the_tests_of_this_tree_mirror_its_modules():
    """A folder of tests that mirrors no room would be forgotten by `make check` when a module moves."""
    rooms = {p.parent for top in ("core", "plugins") for p in (ROOT / top).glob("**/src/**/*.py")}
    mirrors = {folder for room in rooms if (folder := check.mirrored(room.relative_to(ROOT) / "x.py"))}
    free = {"support", "recipes"}
    tests = {
        p.parent.relative_to(ROOT) for top in ("core", "plugins") for p in (ROOT / top).glob("**/tests/**/test_*.py")
    }
    assert not {str(f) for f in tests - mirrors if f.name not in {"tests", *free}}
