"""Runs that another version wrote are read as far as they can be, and say so where they cannot."""

import json
import shutil
import sys
from typing import ClassVar

import engine_problem as problem
import pytest

from limbeck import Component, Options
from limbeck.errors import OptionError, UnknownComponent
from limbeck.recipe.recipe import load


class KeptOptions(Options):
    kept: int = 3
    retired: ClassVar = {"gone": "since 2.0 it is always on"}


class Kept(problem.Counted):
    Options = KeptOptions


@pytest.fixture
def run(tmp_path):
    """A run that limbeck 0.0.1 wrote, with an option of its objective that there is no more."""
    from limbeck.plugins.registry import registry

    problem.register()
    if "old" not in registry._extra:
        registry.register([Component("objective", "old_kept", Kept, options=f"{__name__}:KeptOptions")], name="old")
    sys.modules.setdefault(__name__, sys.modules[KeptOptions.__module__])
    folder = tmp_path / "run"
    train = {"phases": {}, "steps": 1, "ema": None}
    recipe = {**problem.recipe(objective={"use": "old_kept"}, train=train)}
    recipe["train"]["phases"] = {}
    folder.mkdir()
    (folder / "recipe.yaml").write_text(load(recipe).to_yaml().replace("kept: 3", "kept: 4\n  gone: true"))
    (folder / "run.json").write_text(json.dumps({"versions": {"limbeck": "0.0.1", "torch": "2.6"}}))
    return folder


def test_a_retired_option_of_an_old_run_is_dropped_with_a_warning(run):
    with pytest.warns(UserWarning, match=r"objective\.gone is dropped: since 2\.0 it is always on"):
        recipe = load(run)
    assert recipe.objective.options == {"kept": 4}


def test_an_old_run_is_resumed_and_sampled(run, tmp_path):
    import limbeck

    with pytest.warns(UserWarning, match="gone is dropped"):
        done = limbeck.pretrain(run, out=run, resume=True, progress=False)
    assert done.status == "finished" and "gone" not in (run / "recipe.yaml").read_text()
    assert len(limbeck.Run(run).sample(4)) == 4


def test_a_retired_option_in_a_recipe_of_ones_own_is_an_error_that_says_what_became_of_it(run, tmp_path):
    mine = shutil.copy(run / "recipe.yaml", tmp_path / "mine.yaml")
    with pytest.raises(OptionError, match="has no option 'gone' any more: since 2.0 it is always on"):
        load(mine)


def test_an_unknown_option_of_an_old_run_is_told_with_the_versions_that_wrote_it(run):
    stored = run / "recipe.yaml"
    stored.write_text(stored.read_text().replace("gone: true", "never_heard_of: 1"))
    with pytest.raises(OptionError) as caught:
        load(run)
    text = str(caught.value)
    assert "has no option 'never_heard_of'" in text and "recipe.yaml:" in text
    assert "was written by limbeck 0.0.1 (now " in text and "torch" not in text
    with pytest.raises(OptionError) as caught:  # an override is its author's own doing
        load(run, ["objective.never_heard_of=null", "train.nonsense=1"])
    assert "train.nonsense" in str(caught.value) and "0.0.1" not in str(caught.value)


def test_a_component_that_is_gone_is_told_with_the_versions(run):
    stored = run / "recipe.yaml"
    stored.write_text(stored.read_text().replace("old_kept", "renamed_since"))
    with pytest.raises(UnknownComponent, match="renamed_since(.|\n)*written by limbeck 0.0.1"):
        load(run)
