"""What pip reads: five distributions that agree with each other and with the workspace."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "limbeck": "core",
    "limbeck-diffusion": "plugins/diffusion",
    "limbeck-image": "plugins/image",
    "limbeck-text": "plugins/text",
    "limbeck-3d": "plugins/3d",
    "limbeck-audio": "plugins/audio",
    "limbeck-video": "plugins/video",
}


def project(folder: str) -> dict:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("name", "folder"), FOLDERS.items())
def test_a_distribution_says_who_it_is(name, folder):
    stated = project(folder)
    assert stated["name"] == name
    assert stated["license"] == "Apache-2.0"
    assert stated["requires-python"] == ">=3.11"
    assert (ROOT / folder / stated["readme"]).read_text().strip()
    assert (ROOT / folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "## Unreleased" in (ROOT / folder / "CHANGELOG.md").read_text()
    assert "limbeck.plugins" in stated["entry-points"]


@pytest.mark.parametrize(("name", "folder"), FOLDERS.items())
def test_the_version_is_the_same_wherever_it_is_written(name, folder):
    module = importlib.import_module(name.replace("-", "_"))
    assert module.__version__ == project(folder)["version"]


@pytest.mark.parametrize("folder", FOLDERS.values())
def test_requirements_have_lower_bounds_and_no_upper_ones(folder):
    for requirement in project(folder)["dependencies"]:
        assert re.fullmatch(r"[A-Za-z0-9_-]+>=[0-9.]+", requirement), requirement


def test_torch_is_asked_for_the_same_way_everywhere():
    asked = {r for folder in FOLDERS.values() for r in project(folder)["dependencies"] if r.startswith("torch>")}
    assert asked == {"torch>=2.6"}


def test_the_pinned_set_covers_every_requirement():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==\S+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    wanted = {r.partition(">")[0] for folder in FOLDERS.values() for r in project(folder)["dependencies"]}
    for name in ("requirements-dev.txt", "requirements-docs.txt"):
        wanted |= {line for line in (ROOT / name).read_text().splitlines() if line and line[0] != "#"}
    missing = {w for w in wanted if re.sub(r"[-_.]+", "-", w).lower() not in pinned} - set(FOLDERS)
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS.values())
def test_a_wheel_holds_the_licence_the_manifest_and_no_tests(folder, tmp_path):
    import zipfile

    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        f"./{folder}",
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("_plugin.py") for name in names)
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if "/tests/" in name]


@pytest.mark.parametrize("plugin", ["image", "text", "3d"])
def test_a_modality_works_beside_core_and_diffusion_alone(plugin, monkeypatch):
    from limbeck.catalogue import matrix
    from limbeck.plugins.registry import registry
    from limbeck.recipe import load

    monkeypatch.setenv("LIMBECK_PLUGINS", f"limbeck,diffusion,{plugin}")
    registry.reload()
    try:
        ours = {row.name for row in registry.plugins() if row.distribution in FOLDERS and row.status == "ok"}
        assert ours == {"limbeck", "diffusion", plugin}
        for entry in registry.components("recipe"):
            load(entry.qualified)  # every name it uses is there
        runs = [row["name"] for row in matrix.table(registry) if row[plugin] == "runs"]
        assert "dmd2" in runs
    finally:
        monkeypatch.undo()
        registry.reload()
