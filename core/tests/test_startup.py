"""`limbeck --help` and `limbeck plugins` answer at once: no torch, nothing heavy."""

import json
import statistics
import subprocess
import sys
import time

import pytest

from limbeck.plugins.discovery import HEAVY

RUN = """
import contextlib, io, json, sys
from limbeck.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main({arguments!r})
print(json.dumps([sorted(set({heavy!r}) & set(sys.modules)), out.getvalue()]))
"""


def fresh(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--help"], "distill"),
        (["plugins"], "limbeck"),
        (["distill", "--help"], "--resume"),
        (["list", "exporters"], "torch"),
        (["matrix"], ""),
        (["recipes"], ""),
        (["plugins", "doctor"], ""),
        (["show", "dmd2"], ""),
    ],
)
def test_looking_around_imports_nothing_heavy(arguments, says):
    loaded, out = fresh(RUN.format(arguments=arguments, heavy=HEAVY))
    assert loaded == [] and says in out


@pytest.mark.parametrize(
    "code", ["import limbeck", "from limbeck import registry", "import limbeck.recipe", "import limbeck.cli.app"]
)
def test_these_imports_bring_nothing_heavy(code):
    loaded = fresh(f"{code}\nimport json, sys\nprint(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))")
    assert loaded == []


def test_the_light_modules_import_neither_pydantic_nor_yaml():
    code = "import limbeck.cli.looking, limbeck._plugin, limbeck.plugins.registry, json, sys\n"
    assert (
        fresh(code + "print(json.dumps([m for m in ('pydantic', 'yaml', 'numpy', 'jinja2') if m in sys.modules]))")
        == []
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["plugins"]])
def test_the_command_line_answers_in_under_half_a_second(arguments):
    command = [sys.executable, "-c", f"from limbeck.cli import main; main({arguments!r})"]
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.5, seconds


def test_every_lazy_name_of_the_package_exists():
    import limbeck

    missing = []
    for name in limbeck.__all__:
        try:
            getattr(limbeck, name)
        except (AttributeError, ModuleNotFoundError) as error:
            missing.append(f"{name}: {error}")
    assert missing == []


def test_type_checkers_see_the_names_of_the_table():
    import ast
    from pathlib import Path

    import limbeck

    tree = ast.parse(Path(limbeck.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: f"{imported.module}:{alias.name}"
        for imported in block.body
        if isinstance(imported, ast.ImportFrom)
        for alias in imported.names
    }
    table = {name: f"{module}:{name}" for name, module in limbeck._LAZY.items()}
    modules = {name: ":".join(module.rsplit(".", 1)) for name, module in limbeck._MODULES.items()}
    assert typed == table | modules


@pytest.mark.slow
def test_mypy_reveals_the_classes_behind_public_names(tmp_path):
    file = tmp_path / "shown.py"
    file.write_text("from limbeck import Component, Rng\n\nreveal_type(Component)\nreveal_type(Rng(0).normal)\n")
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), str(file)]
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    component, normal, *_ = out.splitlines()
    assert "-> limbeck.manifest.Component" in component and "-> torch._tensor.Tensor" in normal, out
