"""Every recipe builds; those of language models differ in what they are to compare."""

import pytest

import limbeck
from limbeck.recipe import load
from limbeck.runs.build import build

NAMES = [e.component.name for e in limbeck.registry.components("recipe", "text") if e.distribution == "limbeck-text"]
DISTILLATIONS = ("pydocs_fkl", "pydocs_kd", "pydocs_rkl", "pydocs_jsd", "pydocs_gkd", "pydocs_seq_kd")


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_builds(name):
    recipe = load(name)
    assert recipe.name == name and build(recipe).objective.roles()


@pytest.mark.parametrize("name", DISTILLATIONS)
def test_a_distillation_recipe_differs_in_its_objective_only(name):
    recipe, first = load(name), load("pydocs_fkl")
    assert recipe.objective.use == name.removeprefix("pydocs_")
    for part in ("teacher", "generator", "data", "train", "evaluate"):
        assert getattr(recipe, part) == getattr(first, part)


def test_the_baseline_trains_the_same_student_on_the_same_tokens():
    baseline, first = load("pydocs_lm_student_ce"), load("pydocs_fkl")
    assert baseline.generator.options == first.generator.options and baseline.data == first.data
    assert (baseline.train.steps, baseline.train.batch_size) == (first.train.steps, first.train.batch_size)


def test_teacher_student_and_judge_have_the_sizes_that_they_should():
    sizes = {}
    for name in ("pydocs_lm_teacher", "pydocs_lm_judge", "pydocs_lm_student_ce"):
        made = limbeck.create("generator", "text/pydocs_lm", **load(name).generator.options)
        sizes[name] = sum(parameter.numel() for parameter in made.parameters())
    assert sizes["pydocs_lm_teacher"] == 2_557_632
    assert 0.45 < sizes["pydocs_lm_student_ce"] / sizes["pydocs_lm_teacher"] < 0.55
    assert sizes["pydocs_lm_judge"] < 1_300_000


@pytest.mark.parametrize("name", NAMES)
def test_only_the_judge_learns_from_the_judges_documents(name):
    split = load(name, check=False).data.options.get("split", "train")
    assert split == ("judge" if name == "pydocs_lm_judge" else "train")
