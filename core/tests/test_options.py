"""Other defaults for a model of options: what a row of a manifest states in the place of a class."""

import pytest
from pydantic import Field

from limbeck.errors import OptionError, PluginLoadError
from limbeck.manifest import Component
from limbeck.options import Options, with_defaults
from limbeck.plugins.registry import registry


class Critic(Options):
    """The other player."""

    updates: int = Field(5, ge=1, description="of the critic for one of the student")
    lr: float = Field(1e-4, gt=0, description="learning rate")


class Matching(Options):
    """The base."""

    steps: int = Field(1, ge=1, description="calls of the student")
    path: str = Field(description="required")
    critic: Critic = Field(Critic(), description="the critic's block")


def test_other_defaults_keep_descriptions_checks_and_what_is_not_named():
    changed = with_defaults(Matching, {"steps": 4, "path": "x", "critic": {"updates": 2}})
    made = changed()
    assert (made.steps, made.path, made.critic.updates, made.critic.lr) == (4, "x", 2, 1e-4)
    assert changed.model_fields["steps"].description == "calls of the student" and changed.__doc__ == "The base."
    assert changed(critic={"lr": 1.0}).critic.updates == 2  # a given block keeps the other defaults
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        changed(steps=0)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        with_defaults(Matching, {"steps": 0, "path": "x"})()
    assert Matching(path="x").steps == 1 and with_defaults(Matching, {}) is Matching


def test_a_default_of_no_option_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match=r"Matching has no option 'step'.*Allowed: steps, path, critic"):
        with_defaults(Matching, {"step": 4})
    with pytest.raises(ValueError, match="critic.update: no such option"):
        with_defaults(Matching, {"critic": {"update": 4}})


def test_rows_of_one_target_differ_by_their_defaults():
    def target(**options):
        return options

    rows = [
        Component("objective", name, target, options=f"{__name__}:Matching", defaults=defaults)
        for name, defaults in (("plain", {"path": "a"}), ("many", {"path": "b", "steps": 4}), ("wrong", {"stepz": 4}))
    ]
    with registry.register(rows, name="rows"):
        assert registry.create("objective", "plain")["steps"] == 1
        assert registry.create("objective", "many")["steps"] == 4
        assert registry.create("objective", "many", steps=2) == {"steps": 2, "path": "b", "critic": Critic()}
        with pytest.raises(OptionError, match="no option 'step'"):
            registry.create("objective", "many", step=2)
        with pytest.raises(PluginLoadError, match=r"defaults of objective 'wrong' that do not fit.*'stepz'"):
            registry.create("objective", "wrong")
