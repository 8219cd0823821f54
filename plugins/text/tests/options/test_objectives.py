"""Options of token divergences: rows of one model, and what is refused."""

import pytest

import limbeck
from limbeck.errors import OptionError
from limbeck.manifest import Needs
from limbeck.recipe import load
from limbeck_text.options.objectives import TokenDivergenceOptions

ROWS = {
    "kd": ("forward_kl", 0.5, 0.5, "data"),
    "fkl": ("forward_kl", 1.0, 0.0, "data"),
    "rkl": ("reverse_kl", 1.0, 0.0, "data"),
    "jsd": ("generalized_jsd", 1.0, 0.0, "data"),
    "gkd": ("generalized_jsd", 1.0, 0.0, "on_policy"),
    "seq_kd": ("forward_kl", 0.0, 1.0, "teacher_text"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_method_is_a_row_of_defaults(name):
    objective = limbeck.create("objective", name)
    o = objective.options
    assert (o.divergence.kind, o.divergence.weight, o.ce_weight, objective.default_source) == ROWS[name]
    assert type(objective).__name__ == "TokenDivergence"
    assert o.student_fraction == (0.5 if name == "gkd" else None)


def test_what_is_given_for_a_block_leaves_the_rows_other_defaults():
    options = limbeck.create("objective", "gkd", divergence={"beta": 0.1}).options
    assert (options.divergence.kind, options.divergence.beta, options.divergence.parameters()) == (
        "generalized_jsd", 0.1, {"beta": 0.1},
    )  # fmt: skip
    assert limbeck.create("objective", "kd", divergence={"temperature": 2.0}).options.divergence.weight == 0.5


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("fkl", {"divergence": {"beta": 0.3}}, "beta is a parameter of generalized_jsd, and kind is forward_kl"),
        ("jsd", {"divergence": {"skew": 0.3}}, "skew is a parameter of skewed_kl and skewed_reverse_kl, and kind is"),
        ("jsd", {"divergence": {"kind": "kl"}}, "forward_kl"),
        ("fkl", {"divergence": {"weight": 0}}, "nothing is learned. Give one a weight"),
        ("fkl", {"student_fraction": 0.3}, "texts is data. Use texts: student"),
        ("kd", {"divergence": {"temperatur": 2.0}}, "temperature"),
    ],
)
def test_options_without_meaning_are_refused_with_the_reason(name, given, message):
    with pytest.raises(OptionError, match=message):
        limbeck.create("objective", name, **given)


def test_a_wrong_nested_option_of_a_recipe_names_its_full_path():
    with pytest.raises(OptionError, match="objective.divergence.temperature"):
        load("pydocs_kd", ["objective.divergence.temperature=-1"])


def test_needs_follow_the_options():
    assert TokenDivergenceOptions().needs() == Needs(teacher={"log_probs"})
    written = TokenDivergenceOptions(texts="teacher", divergence={"weight": 0}, ce_weight=1)
    assert written.needs() == Needs(teacher={"generates"})
    assert TokenDivergenceOptions(texts="student").needs() == Needs(generator={"generates"}, teacher={"log_probs"})
