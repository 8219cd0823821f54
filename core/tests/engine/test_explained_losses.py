"""A loss that is not finite can say why, so that no check has to make every step wait for the device."""

import engine_problem as problem
import pytest

from limbeck import Component, Loss
from limbeck.errors import LimbeckError


class Doubtful(problem.Counted):
    """Its value breaks at step 2, and it knows why."""

    def loss(self, phase, batch, rng):
        loss = super().loss(phase, batch, rng)

        def explain():
            raise LimbeckError("the teacher is broken")

        return Loss(loss.value * (float("nan") if rng.step == 1 else 1.0), loss.terms, explain=explain)


def test_a_loss_is_asked_why_it_is_not_finite_and_only_then(tmp_path):
    from limbeck.plugins.registry import registry

    problem.register()
    if "doubt" not in registry._extra:
        registry.register([Component("objective", "tiny_doubt", Doubtful)], name="doubt")
    recipe = problem.recipe(objective={"use": "tiny_doubt"}, train={"steps": 1, "ema": None})
    recipe["train"]["phases"] = {}
    import limbeck

    assert limbeck.pretrain(recipe, out=tmp_path / "one", progress=False).status == "finished"
    with pytest.raises(LimbeckError, match="^the teacher is broken$"):
        limbeck.pretrain(recipe, out=tmp_path / "two", train={"steps": 3}, progress=False)
