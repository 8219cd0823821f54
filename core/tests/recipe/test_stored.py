"""Runs that another version wrote are refused in one line that names it, where they cannot be read."""

import json
import sys

import engine_problem as problem
import pytest

from limbeck import Component, Options
from limbeck.errors import OptionError, RecipeError
from limbeck.recipe import load
from limbeck.recipe.stored import FORMAT


class KeptOptions(Options):
    kept: int = 3


class Kept(problem.Counted):
    Options = KeptOptions


@pytest.fixture
def run(tmp_path):
    """A run of an earlier version, with an option of its objective that there is no more."""
    from limbeck.plugins.registry import registry

    problem.register()
    if "stored" not in registry._extra:
        brought = [Component("objective", "stored_kept", Kept, options=f"{__name__}:KeptOptions")]
        registry.register(brought, name="stored")
    sys.modules.setdefault(__name__, sys.modules[KeptOptions.__module__])
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = load(problem.recipe(objective={"use": "stored_kept"}, train={"phases": {}, "steps": 1, "ema": None}))
    (folder / "recipe.yaml").write_text(recipe.to_yaml().replace("kept: 3", "kept: 4\n  gone: true"))
    record(folder)
    return folder


def record(folder, version="0.0.1", form=FORMAT):
    content = {"format": form, "versions": {"limbeck": version, "torch": "2.6"}}
    (folder / "run.json").write_text(json.dumps(content))


def refusal(*arguments):
    with pytest.raises(RecipeError) as caught:
        load(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_option_that_is_gone_is_refused_in_one_line_with_the_version_that_wrote_it(run):
    text = refusal(run)
    assert "\n" not in text and "torch" not in text
    assert f"the run {run}, written by limbeck 0.0.1 (now " in text and "recipe.yaml:" in text
    assert "objective.gone: objective 'stored_kept' has no option 'gone'" in text
    assert text.endswith("Use the version that wrote it, or make the run again from a recipe of this version")


def test_a_component_that_is_gone_is_refused_in_one_line(run):
    stored = run / "recipe.yaml"
    stored.write_text(stored.read_text().replace("stored_kept", "renamed_since"))
    text = refusal(run)
    assert "\n" not in text and "written by limbeck 0.0.1" in text and "no objective named 'renamed_since'" in text


@pytest.mark.parametrize("form", [1, 3])
def test_a_run_of_another_format_is_refused_whatever_its_recipe_holds(run, form):
    stored = run / "recipe.yaml"
    stored.write_text(stored.read_text().replace("  gone: true\n", ""))
    assert load(run).objective.options == {"kept": 4}
    record(run, form=form)
    text = refusal(run)
    assert f"is of format {form}, and this Limbeck reads format {FORMAT}" in text and "\n" not in text


def test_a_run_without_a_format_is_of_the_first(run):
    (run / "run.json").write_text("{}".replace("}", '"versions": {}}'))
    assert "written by an unknown version, is of format 1" in refusal(run)


def test_an_edit_by_hand_and_an_override_are_told_as_in_any_recipe(run):
    from importlib.metadata import version

    with pytest.raises(OptionError, match=r"train\.nonsense") as caught:
        load(run, ["objective.gone=null", "train.nonsense=1"])
    assert "0.0.1" not in str(caught.value)
    record(run, version("limbeck"))
    with pytest.raises(OptionError, match=r"recipe\.yaml:\d+  objective\.gone: objective 'stored_kept' has no option"):
        load(run)


def test_a_run_writes_its_format(tmp_path):
    problem.train(tmp_path / "run", train={"steps": 1}, evaluate={"every": None, "metrics": []})
    assert json.loads((tmp_path / "run/run.json").read_text())["format"] == FORMAT
    assert load(tmp_path / "run").train.steps == 1
