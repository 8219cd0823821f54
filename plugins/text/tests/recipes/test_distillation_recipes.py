import pytest

from limbeck.recipe import load

NAMES = ("pydocs_fkl", "pydocs_kd", "pydocs_rkl", "pydocs_jsd", "pydocs_gkd", "pydocs_seq_kd")


@pytest.mark.parametrize("name", NAMES)
def test_a_distillation_recipe_is_valid_and_differs_in_its_objective_only(name):
    recipe, first = load(name), load("pydocs_fkl")
    assert recipe.objective.use == name.removeprefix("pydocs_") and recipe.name == name
    for part in ("teacher", "generator", "data", "train", "evaluate"):
        assert getattr(recipe, part) == getattr(first, part)


def test_the_baseline_trains_the_same_student_on_the_same_tokens():
    baseline, first = load("pydocs_lm_student_ce"), load("pydocs_fkl")
    assert baseline.generator.options == first.generator.options and baseline.data == first.data
    assert (baseline.train.steps, baseline.train.batch_size) == (first.train.steps, first.train.batch_size)
