"""limbeck <- limbeck_diffusion <- a modality plugin, and no other way. Read from the source: a lazy import counts."""

import tomllib
from pathlib import Path

import pytest
from import_graph import imports

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "limbeck": set(),
    "limbeck_diffusion": {"limbeck"},
    "limbeck_image": {"limbeck", "limbeck_diffusion"},
    "limbeck_text": {"limbeck", "limbeck_diffusion"},
    "limbeck_3d": {"limbeck", "limbeck_diffusion"},
    "limbeck_audio": {"limbeck", "limbeck_diffusion"},
    "limbeck_video": {"limbeck", "limbeck_diffusion"},
    "acme_distill": {"limbeck"},
}


def package_folders() -> dict[str, Path]:
    found = [*ROOT.glob("core/src/*"), *ROOT.glob("plugins/*/src/*"), *ROOT.glob("examples/*/src/*")]
    return {folder.name: folder for folder in found if (folder / "__init__.py").exists()}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file; for type checkers too."""
    return {name.partition(".")[0] for name in imports(path, typing=True)}


def test_every_package_of_the_workspace_has_its_place_in_the_order():
    assert set(package_folders()) == set(ALLOWED)


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_packages_below_it(package):
    ours = set(ALLOWED)
    files = sorted(package_folders()[package].rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): sorted(forbidden)
        for path in files
        if (forbidden := (imported(path) & ours) - {package} - ALLOWED[package])
    }
    assert not wrong


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_distribution_declares_the_packages_of_ours_that_it_imports(package):
    folder = package_folders()[package]
    project = tomllib.loads((folder.parents[1] / "pyproject.toml").read_text())["project"]
    declared = {requirement.partition(">")[0].strip().replace("-", "_") for requirement in project["dependencies"]}
    used = set().union(*(imported(path) for path in folder.rglob("*.py"))) & set(ALLOWED) - {package}
    assert used <= declared


@pytest.mark.parametrize("package", sorted(set(ALLOWED) - {"limbeck", "acme_distill"}))
def test_manifests_and_options_import_nothing_heavy(package):
    heavy = {"torch", "numpy", "scipy", "sklearn", "accelerate", "diffusers", "transformers", "PIL", "trimesh"}
    names = ("__init__.py", "_plugin.py", "manifest/*.py", "options/*.py", "pipelines/*options.py")
    paths = [path for name in names for path in package_folders()[package].glob(name)]
    assert len(paths) >= 3
    for path in paths:
        assert not imported(path) & heavy, path
