"""Rooms stand on floors: no circle of modules anywhere, and imports go down. Read from the source, lazy ones included.

`tests/support/import_graph.py` says what counts as an import. What may import which distribution is
`test_import_direction.py`'s matter.
"""

from pathlib import Path

import pytest
from import_graph import circles, import_graph, imports, modules, room_of, upward

ROOT = Path(__file__).parents[1]

# The rooms of every distribution from the bottom to the top; those on one line stand on one floor. A room is a folder,
# or a module that lies in none.
ROOMS = {
    "limbeck": (
        # limbeck/__init__: names, loaded late
        "limbeck errors manifest scheduled phases conditions disk_cache files progress",
        "options randomness _plugin",
        "interfaces process",
        "networks data",
        "plugins",
        "recipe",
        "catalogue pictures",
        "sampling",
        "evaluation",
        "engine report export",
        "runs",
        "api testing",
        "cli",
        "__main__",
    ),
    "limbeck_diffusion": (
        "limbeck_diffusion manifest options formulas networks augment data",
        "_plugin samplers sources",
        "objectives pipelines",
    ),
    "limbeck_image": ("limbeck_image manifest options", "_plugin data", "networks features", "metrics"),
    "limbeck_text": (
        "limbeck_text manifest options losses views",
        "_plugin tokenizers",
        "data",
        "models",
        "objectives samplers sources exporters",
        "metrics",
    ),
    "limbeck_3d": (
        "limbeck_3d manifest prompts views rendering samplers",
        "_plugin options geometry",
        "data scenes networks",
        "features sources exporters callbacks teachers",
        "metrics report",
    ),
    "limbeck_audio": (
        "limbeck_audio manifest options signal synthesis",
        "_plugin data views exporters",
        "networks features",
        "metrics",
    ),
    "limbeck_video": (
        "limbeck_video manifest options encoding physics samplers",
        "_plugin decoding views exporters",
        "data",
        "networks features",
        "metrics",
        "report",
    ),
    "acme_distill": ("acme_distill options planar ring", "energy _plugin"),
}

# Imports of a higher room, each with its reason. Core may have three, the others have none.
UPWARD = {
    "limbeck": {
        # options are refused in the words of a recipe, wherever they were given
        "limbeck.plugins.registry -> limbeck.recipe.option_errors",
    },
}


def packages() -> dict[str, Path]:
    found = [*ROOT.glob("core/src/*"), *ROOT.glob("plugins/*/src/*"), *ROOT.glob("examples/*/src/*")]
    return {folder.name: folder for folder in found if (folder / "__init__.py").exists()}


def floors(rooms: tuple[str, ...]) -> dict[str, int]:
    return {room: floor for floor, line in enumerate(rooms) for room in line.split()}


def test_every_distribution_has_its_table():
    assert set(packages()) == set(ROOMS)


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_every_room_has_a_floor(package):
    named = " ".join(ROOMS[package]).split()
    assert sorted(named) == sorted(set(map(room_of, modules(packages()[package]))))


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_modules_import_each_other_in_no_circle(package):
    assert circles(import_graph(packages()[package])) == []


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_what_stands_on_their_floor_or_below(package):
    found = set(upward(import_graph(packages()[package]), floors(ROOMS[package])))
    assert found == UPWARD.get(package, set())


def test_core_has_at_most_three_arrows_upwards():
    assert len(UPWARD["limbeck"]) <= 3


def test_the_loop_is_read_in_one_sitting():
    lines = (packages()["limbeck"] / "engine/loop.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300


# --- the test can fail -----------------------------------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path):
    """`toy(path=source, ...)` writes a package; `__` in a name is a folder."""

    def write(**files: str) -> Path:
        package = tmp_path / "toy"
        for name, source in files.items():
            path = package / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / "__init__.py").touch()
            path.write_text(source)
        (package / "__init__.py").touch()
        return package

    return write


def test_a_planted_circle_is_found_though_every_import_is_put_off_or_relative(toy):
    package = toy(
        low__first="def f():\n    from toy.low import second\n",
        low__second="def g():\n    if True:\n        from ..high.third import h\n",
        high__third="import toy.low.first\n",
        high__alone="from toy.low.first import f\n",
    )
    assert circles(import_graph(package)) == [["toy.high.third", "toy.low.first", "toy.low.second"]]


def test_a_planted_arrow_upwards_is_found(toy):
    package = toy(low__first="from toy.high.third import h\n", high__third="from toy.top import x\n", top="x = 1\n")
    graph = import_graph(package)
    assert upward(graph, floors(("toy low", "high", "top"))) == [
        "toy.high.third -> toy.top",
        "toy.low.first -> toy.high.third",
    ]
    assert upward(graph, floors(("toy top", "high", "low"))) == []


def test_imports_for_type_checkers_do_not_count_and_their_else_does(toy):
    package = toy(
        a="if TYPE_CHECKING:\n    from toy.b import B\nelse:\n    from toy.c import C\n",
        b="import toy.a\n",
        c="",
    )
    assert import_graph(package)["toy.a"] == {"toy.c"}
    assert set(imports(package / "a.py", typing=True)) == {"toy.b.B", "toy.c.C"}


def test_a_name_of_a_package_is_that_package_where_no_module_has_it(toy):
    package = toy(room__one="from toy.room import two, THREE\nfrom toy import room\n", room__two="")
    assert import_graph(package)["toy.room.one"] == {"toy.room.two", "toy.room"}
