"""`limbeck tour`: which recipes it runs, what it keeps, and what is on the page."""

import json
import re
import sys
from pathlib import Path

import engine_problem as problem
import pytest

from limbeck.cli import main
from limbeck.errors import RecipeError, RunExists
from limbeck.manifest import Component
from limbeck.plugins.registry import registry
from limbeck.runs import tours

RECIPE = """
name: {name}
generator: {{use: tiny_net, init: random, dropout: 0.0}}
objective: {{use: tiny_duel, critic_updates: 1, dropout: 0.0}}
data: {{use: tiny_points}}
train: {{steps: 4, batch_size: 8, lr: {lr}, checkpoint: {{every: 2}}}}
evaluate: {{every: 2, samples: 16, metrics: [tiny_spread], grid: 4}}
"""


@pytest.fixture(autouse=True)
def toys(tmp_path, monkeypatch):
    package = tmp_path / "packages/tour_recipes"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, lr in (("first", 1e-2), ("second", 2e-2)):
        (package / f"{name}.yaml").write_text(RECIPE.format(name=name, lr=lr))
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "tour_recipes", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tours, "MARK", "toy_tour")  # not what is installed
    problem.register()
    recipes = [
        Component("recipe", "second", "tour_recipes:second.yaml", modality="smells", details={"toy_tour": "2"}),
        Component("recipe", "first", "tour_recipes:first.yaml", modality="tastes", details={"toy_tour": "1"}),
        Component("recipe", "unmarked", "tour_recipes:first.yaml", modality="tastes"),
    ]
    with registry.register(recipes, name="toys"):
        yield
    sys.modules.pop("tour_recipes", None)


def test_marked_recipes_run_in_their_order_and_share_one_page(tmp_path):
    found = tours.tour(out="out", progress=False)
    assert [(cell.on, cell.modality, cell.status) for cell in found.cells] == [
        ("first", "tastes", "finished"), ("second", "smells", "finished"),
    ]  # fmt: skip
    page = found.page.read_text()
    assert page.index('id="first"') < page.index('id="second"')
    assert "The same tool on tastes and smells" in page
    assert page.count("student, untrained") == 2, "the grid of step 0 stands beside what became of it"
    assert (Path("out/first/report.html")).is_file() and 'href="first/report.html"' in page
    assert not re.findall(r'(?:src|href)="(?!data:|#|first/|second/)[^"]*"', page), "nothing from outside"
    assert len(json.loads(Path("out/tour.json").read_text())["cells"]) == 2


def test_a_second_tour_keeps_what_is_finished_and_refuses_another_recipe():
    tours.tour(out="out", progress=False)
    before = Path("out/first/metrics.jsonl").stat().st_mtime_ns
    said = []
    tours.tour(out="out", progress=False, say=said.append)
    assert [line.strip() for line in said] == [
        "1/2  tiny_duel on first: finished before, kept", "2/2  tiny_duel on second: finished before, kept",
    ]  # fmt: skip
    assert Path("out/first/metrics.jsonl").stat().st_mtime_ns == before
    with pytest.raises(RunExists, match=r"train.steps 4 -> 5.*--overwrite"):
        tours.tour(out="out", overrides=["train.steps=5"])


def test_one_modality_can_be_chosen_and_a_wrong_one_is_named():
    assert [cell.on for cell in tours.plan(["smells"])] == ["second"]
    with pytest.raises(RecipeError, match=r"no tour of 'smell'. Did you mean 'smells'\? Installed: tastes, smells"):
        tours.plan(["smell"])


def command(*words):
    """Exit status of the command line."""
    with pytest.raises(SystemExit) as ended:
        main(["tour", "--out", "out", *words, "train.steps=2"])
    return ended.value.code or 0


def test_a_failed_run_costs_its_section_only(capsys):
    assert command("--on", "tastes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["cells"][0]["steps"] == 2
    (Path("packages/tour_recipes/second.yaml")).write_text(
        RECIPE.format(name="second", lr="1.0e+20").replace("steps: 4", "steps: 2")
    )
    assert command() == 1
    assert "1 of 2 runs failed" in capsys.readouterr().err
    page = Path("out/index.html").read_text()
    assert "This run failed" in page and 'id="first"' in page and "not finite" in page


def test_without_a_plugin_that_has_one_the_error_says_which_to_install(monkeypatch):
    monkeypatch.setattr(tours, "MARK", "nobody")
    with pytest.raises(RecipeError, match="pip install limbeck-image"):
        tours.plan()
