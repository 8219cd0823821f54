"""Numbers that follow the step: values, distributions, bounds, and how a recipe writes them."""

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from limbeck.errors import OptionError
from limbeck.networks.guidance import Guided
from limbeck.recipe import load
from limbeck.scheduled import Ramp, Scheduled, bounds, value_at
from limbeck.testing import GaussianTeacher

DOWN = Ramp(start=0.98, end=0.5, steps=100, after=20)


def test_a_plain_number_is_the_same_at_every_step():
    assert value_at(3, 0) == value_at(3, 10**6) == 3.0 and isinstance(value_at(3, 0), float)
    assert bounds(3) == (3.0, 3.0)


def test_a_ramp_is_constant_before_and_behind_and_straight_between():
    assert [value_at(DOWN, step) for step in (0, 20)] == [0.98, 0.98]
    assert value_at(DOWN, 70) == pytest.approx(0.74) and value_at(DOWN, 21) == pytest.approx(0.9752)
    assert [value_at(DOWN, step) for step in (120, 10**6)] == pytest.approx([0.5, 0.5])
    assert bounds(DOWN) == (0.5, 0.98) and bounds(Ramp(start=1, end=4, steps=3)) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("shape", "share"),
    [("linear", lambda u: u), ("cosine", lambda u: (1 - math.cos(math.pi * u)) / 2), ("sqrt", math.sqrt)],
)
def test_shapes_are_their_closed_forms(shape, share):
    ramp = Ramp(start=2.0, end=10.0, steps=8, shape=shape)
    for step in range(9):
        assert value_at(ramp, step) == pytest.approx(2 + 8 * share(step / 8))


def test_what_is_written_is_a_number_or_a_whole_ramp():
    read = TypeAdapter(Scheduled).validate_python
    assert read(2) == 2.0
    assert read({"start": 1, "end": 2, "steps": 5}) == Ramp(start=1, end=2, steps=5)
    for wrong in ({"start": 1}, {"start": 1, "end": 2, "steps": 0}, {"start": 1, "end": math.inf, "steps": 5},
                  {"start": 1, "end": 2, "steps": 5, "until": 3}, math.nan, "much"):  # fmt: skip
        with pytest.raises(ValidationError):
            read(wrong)


def recipe(guidance):
    pytest.importorskip("limbeck_image")
    return load("digits_dmd2", [f"teacher.guidance={guidance}"])


def test_guidance_of_a_recipe_may_be_scheduled_short_or_with_an_interval():
    ramp = Ramp(start=1.0, end=5.0, steps=10)
    assert recipe("1.5").teacher.guidance.scale == 1.5
    assert recipe("{start: 1, end: 5, steps: 10}").teacher.guidance.scale == ramp
    whole = recipe("{scale: {start: 1, end: 5, steps: 10}, interval: [0.1, 0.9]}").teacher.guidance
    assert whole.scale == ramp and whole.interval == (0.1, 0.9)
    assert load(recipe("{start: 1, end: 5, steps: 10}").to_dict()).teacher.guidance.scale == ramp
    with pytest.raises(OptionError, match="guidance scale is 0 or more"):
        recipe("{start: 1, end: -1, steps: 10}")


def test_a_guided_teacher_follows_its_ramp_and_tells_the_teacher_inside():
    from limbeck.process.gaussian import RectifiedFlow

    class Listens(GaussianTeacher):
        def at_step(self, step):
            self.heard = step

    guided = Guided(Listens(RectifiedFlow(), mean=0.0, std=1.0), Ramp(start=1.0, end=3.0, steps=4))
    assert guided.scale == 1.0
    guided.at_step(2)
    assert guided.scale == 2.0 and guided.teacher.heard == 2
    guided.at_step(100)
    assert guided.scale == 3.0
