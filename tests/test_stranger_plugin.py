"""A plugin by a stranger, pip-installed into a fresh venv: found, listed, matched and run. None of our files knows
it."""

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.xdist_group("stranger")  # one venv serves all of them
PLUGIN = ROOT / "examples/acme-distill"


class Venv:
    """A venv that sees what is installed here (torch, Limbeck) and has distributions of its own."""

    def __init__(self, folder: Path):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.folder = folder
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        self.packages = Path(self.run("-c", code).stdout.strip())
        parents = {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"], *site.getsitepackages()}
        lines = [f"import site; site.addsitedir({str(parent)!r})" for parent in sorted(parents)]
        (self.packages / "parent.pth").write_text("\n".join(lines))

    def run(self, *arguments: object, check: bool = True, cwd: Path | None = None) -> subprocess.CompletedProcess:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LIMBECK_", "PYTHON", "PYTEST_"))}
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd or self.folder,
            env={**environment, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def limbeck(self, *arguments: object, **options) -> subprocess.CompletedProcess:
        return self.run("-c", "from limbeck.cli import main; main()", *arguments, **options)

    def json(self, *arguments: object):
        return json.loads(self.limbeck(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    pytest.importorskip("hatchling", reason="builds the example's wheel; `make install` brings it")
    folder = tmp_path_factory.mktemp("stranger")
    source = folder / "acme-distill"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "dist", "build"))
    made = Venv(folder / "venv")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    made.run("-m", "pip", "install", *offline, source)
    return made


def test_the_fresh_venv_holds_the_plugin_and_this_one_does_not(venv):
    assert (venv.packages / "acme_distill/_plugin.py").is_file()
    assert list(venv.packages.glob("acme_distill-2.0.1.dist-info"))
    assert not [row for row in __import__("limbeck").registry.plugins() if row.distribution == "acme-distill"]


def test_limbeck_plugins_shows_it_beside_ours(venv):
    rows = {row["distribution"]: row for row in venv.json("plugins")}
    assert {"limbeck", "limbeck-diffusion", "limbeck-image", "acme-distill"} <= set(rows)
    assert rows["acme-distill"]["status"] == "ok"
    assert rows["acme-distill"]["version"] == "2.0.1"


def test_limbeck_list_names_its_components(venv):
    assert "energy_distance" in venv.limbeck("list", "objectives").stdout
    assert "ring" in venv.limbeck("list", "teachers").stdout
    assert "Szekely" in venv.limbeck("show", "energy_distance").stdout


def test_limbeck_matrix_places_its_objective(venv):
    assert "energy_distance" in json.dumps(venv.json("matrix"))


@pytest.mark.slow
def test_a_recipe_with_its_teacher_and_objective_runs_to_the_end(venv, tmp_path):
    small = ["train.steps=30", "train.batch_size=64"]
    venv.limbeck("distill", PLUGIN / "ring.yaml", *small, "--out", tmp_path / "run", cwd=tmp_path)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "finished"
    steps = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in steps if "loss" in line]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_its_teacher_works_with_an_objective_it_has_never_heard_of(venv, tmp_path):
    changed = [
        "objective={use: dmd2, critic: {updates: 1, init: generator}}",
        "train.steps=3",
        "train.batch_size=32",
    ]
    venv.limbeck("distill", PLUGIN / "ring.yaml", *changed, "--out", tmp_path / "run", cwd=tmp_path)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_its_own_tests_pass_where_it_is_installed(venv):
    tests = venv.folder.parent / "acme-distill/tests"
    done = venv.run("-m", "pytest", "-q", "-p", "no:cacheprovider", tests, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
