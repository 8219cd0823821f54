"""Data is prepared for the teacher that reads it, once, when a recipe is built."""

import engine_problem as problem

from limbeck.manifest import Component
from limbeck.plugins.registry import registry
from limbeck.recipe import load
from limbeck.runs.build import build


class Shy(problem.Points):
    met: list = []

    def prepare(self, teacher):
        self.met.append(teacher)


class Copied(problem.Net):
    def null(self, cond):
        return cond


def test_data_meets_the_teacher_without_its_guidance_or_the_generator_where_there_is_none():
    problem.register()
    brought = [
        Component("data", "tiny_shy", Shy, can={"samples"}),
        Component("teacher", "tiny_teacher", Copied, can={"gaussian", "denoiser", "trainable_copy", "null_condition"}),
    ]
    Shy.met.clear()
    with registry.register(brought, name="shy"):
        alone = build(load(problem.recipe(data={"use": "tiny_shy"})))
        assert Shy.met == [alone.generator]
        teacher = {"use": "tiny_teacher", "guidance": 2.0}
        taught = build(load(problem.recipe(data={"use": "tiny_shy"}, teacher=teacher)))
    assert len(Shy.met) == 2 and Shy.met[1] is taught.teacher.teacher
