"""Other defaults for a model of options: what a row of a manifest states in the place of a class."""

from typing import Literal

import pytest
from pydantic import Field

import limbeck
from limbeck.errors import OptionError, PluginLoadError
from limbeck.manifest import Component, Needs
from limbeck.options import Options, differences, with_defaults
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


class Few(Options):
    """One kind of a block."""

    kind: Literal["few"] = Field("few", description="which")
    steps: int = Field(1, ge=1, description="calls")


class Long(Options):
    """Another kind."""

    kind: Literal["long"] = Field("long", description="which")
    steps: int = Field(4, ge=1, description="calls")
    window: int = Field(8, ge=1, description="what is seen")


class Nested(Options):
    """Blocks in blocks, and a block of several kinds."""

    critic: Critic = Field(Critic(updates=3), description="the critic's block")
    rollout: Few | Long = Field(Few(), discriminator="kind", description="how samples are made")


def test_a_mapping_for_a_block_keeps_the_other_keys_of_the_fields_default():
    assert Nested(critic={"lr": 1.0}).critic == Critic(updates=3, lr=1.0)  # 3 is the field's default, 5 the model's
    assert Nested(critic=Critic()).critic.updates == 5  # a block given whole is taken as it is
    assert Nested.model_validate(Nested(critic={"lr": 1.0}).model_dump()) == Nested(critic={"lr": 1.0})


def test_a_block_of_several_kinds_keeps_its_keys_within_a_kind():
    preset = with_defaults(Nested, {"rollout": {"kind": "long", "steps": 2}})
    assert preset().rollout == Long(steps=2) and preset(rollout={"window": 3}).rollout == Long(steps=2, window=3)
    assert preset(rollout={"kind": "few"}).rollout == Few()
    assert with_defaults(preset, {"rollout": {"window": 5}})().rollout == Long(steps=2, window=5)
    with pytest.raises(ValueError, match="rollout.few.window: no such option"):
        with_defaults(Nested, {"rollout": {"window": 3}})


def test_differences_are_written_by_their_paths():
    assert differences(with_defaults(Nested, {"critic": {"lr": 1.0}}), Nested) == {"critic.lr": 1.0}
    preset = with_defaults(Nested, {"rollout": {"kind": "long", "window": 3}})
    assert differences(preset, Nested) == {"rollout.kind": "long", "rollout.window": 3}
    assert differences(Nested, Nested) == {}


def test_a_wrong_option_in_a_block_names_its_path_and_what_its_kind_allows():
    row = Component("objective", "nested", dict, options=f"{__name__}:Nested", defaults={"rollout": {"kind": "long"}})
    with registry.register(row, name="rows"):
        with pytest.raises(OptionError, match=r"rollout.windw: unknown key. Did you mean 'window'.*Allowed: .*window"):
            registry.create("objective", "nested", rollout={"windw": 3})
        with pytest.raises(OptionError, match=r"critic.updates: got 0; should be greater than"):
            registry.create("objective", "nested", critic={"updates": 0})


def test_a_preset_shows_what_differs_and_is_a_class_with_its_own_options():
    class Target:
        """The general form."""

        name = "general"
        Options = Nested
        needs = Needs()

        def __init__(self, **options):
            self.options = self.Options(**options)

    rows = [
        Component("objective", "general", Target),
        Component(
            "objective", "special", Target, summary="a special case", defaults={"critic": {"updates": 1}},
            preset_of="general", needs=Needs(teacher={"features"}),
        ),
    ]  # fmt: skip
    with registry.register(rows, name="rows"):
        special = registry.resolve("objective", "special")
        assert issubclass(special, Target) and registry.resolve("objective", "special") is special
        assert (special.name, special.needs, special.__doc__) == ("special", rows[1].needs, "a special case")
        assert special().options.critic.updates == 1 and Target().options.critic.updates == 3
        assert registry.create("objective", "special").options == special().options
        card = limbeck.objectives["special"]
        assert card.to_dict()["differences"] == {"critic.updates": "1"}
        assert "as general, with" in repr(card) and "critic.updates: 1" in repr(card)
        shown = {row["name"]: row["default"] for row in card.to_dict()["options"]}
        assert shown["critic.updates"] == "1" and shown["rollout.steps"] == "1"


def test_a_row_of_a_function_has_its_defaults_too():
    def target(*, width: int = 8, depth: int = 2):
        return width, depth

    with registry.register(Component("generator", "wide", target, defaults={"width": 64}), name="rows"):
        assert registry.create("generator", "wide") == (64, 2)
        assert registry.create("generator", "wide", width=4) == (4, 2)


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
