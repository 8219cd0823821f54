"""docs/systems.md is held against the registry and against the files it names."""

import re
from collections import Counter
from pathlib import Path

import pytest

from limbeck import registry

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/systems.md").read_text()
LINES = [line for line in PAGE.splitlines() if re.match(r"\| \d", line)]
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in LINES]
TICKED = [row for row in ROWS if row[5] == "✓"]


def test_every_system_has_one_row():
    assert [int(row[0]) for row in ROWS] == list(range(1, 151))
    assert {row[5] for row in ROWS} <= {"✓", "not yet"}


def test_registry_names_are_snake_case_and_unique():
    names = [row[4] for row in ROWS]
    assert all(re.fullmatch(r"`[a-z][a-z0-9_]*`", name) for name in names)
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_the_total_is_the_number_of_ticks():
    assert f"**{len(TICKED)} of 150.**" in PAGE


@pytest.mark.parametrize("row", TICKED, ids=lambda row: row[4].strip("`"))
def test_a_ticked_system_is_registered_and_its_test_exists(row):
    name = row[4].strip("`")
    assert name in {entry.component.name for entry in registry.components()}
    tests = [test.strip("` ").split("::") for test in row[6].split(",")]
    assert tests
    for path, function in tests:
        assert f"def {function}(" in (ROOT / path).read_text()


def test_a_system_that_is_not_there_names_no_test():
    assert not [row for row in ROWS if row[5] == "not yet" and row[6]]
