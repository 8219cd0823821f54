"""The recipes of language models are complete, and make what they say."""

import pytest

import limbeck
from limbeck.recipe import load


@pytest.mark.parametrize("name", ["pydocs_lm_teacher", "pydocs_lm_judge", "pydocs_lm_student_ce"])
def test_recipes_are_valid(name):
    assert load(name).name == name


def test_teacher_student_and_judge_have_the_sizes_that_they_should():
    sizes = {}
    for name in ("pydocs_lm_teacher", "pydocs_lm_judge", "pydocs_lm_student_ce"):
        made = limbeck.create("generator", "text/pydocs_lm", **load(name).generator.options)
        sizes[name] = sum(parameter.numel() for parameter in made.parameters())
    assert sizes["pydocs_lm_teacher"] == 2_557_632
    assert 0.45 < sizes["pydocs_lm_student_ce"] / sizes["pydocs_lm_teacher"] < 0.55
    assert sizes["pydocs_lm_judge"] < 1_300_000


def test_nobody_but_the_judge_learns_from_the_judges_documents():
    for entry in limbeck.registry.components("recipe"):
        if entry.component.modality != "text" or entry.component.name == "pydocs_lm_judge":
            continue
        recipe = load(entry.qualified, check=False)
        assert recipe.data.options.get("split", "train") == "train", entry.component.name
    assert load("pydocs_lm_judge").data.options["split"] == "judge"
