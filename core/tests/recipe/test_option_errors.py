"""A wrong option names its full path, however deep it lies, and what is allowed there."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from limbeck import Options
from limbeck.errors import OptionError
from limbeck.recipe.option_errors import explain
from limbeck.recipe.text import Origin
from limbeck.scheduled import Scheduled


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Critic(Part):
    updates: int = Field(5, ge=1)
    kind: Literal["full", "lora"] = "full"


class Uniform(Part):
    kind: Literal["uniform"] = "uniform"
    low: float = 0.0


class LogNormal(Part):
    kind: Literal["log_normal"]
    mean: float = 0.0
    std: float

    @field_validator("std")
    @classmethod
    def _positive(cls, std):
        if std <= 0:
            raise ValueError("std is positive")
        return std


class Term(Part):
    weight: float = Field(1.0, ge=0)
    critic: Critic | None = None


class Nested(Options):
    critic: Critic = Critic()
    times: Annotated[Uniform | LogNormal, Field(discriminator="kind")] = Uniform()
    start: Uniform | Critic | None = None
    terms: tuple[Term, ...] = ()
    by_role: Mapping[str, Critic] = {}
    rate: float = 0.1
    ramp: Scheduled = 0.1

    @model_validator(mode="after")
    def _together(self):
        if self.rate > 1 and self.terms:
            raise ValueError("terms want a rate of at most 1")
        return self


def refused(**options):
    with pytest.raises(ValidationError) as caught:
        Nested.model_validate(options)
    return explain(
        caught.value, Nested, options, lambda path: Origin("my.yaml"), prefix=("objective",), owner="objective 'nested'"
    )


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"critic": {"updates": 0}}, "objective.critic.updates", "got 0; should be greater than or equal to 1"),
        ({"critic": {"updats": 2}}, "objective.critic.updats", "Did you mean 'updates'? Allowed: updates, kind"),
        ({"critic": {"kind": "lara"}}, "objective.critic.kind", "got 'lara'. Did you mean 'lora'? Allowed: full, lora"),
        ({"critic": 3}, "objective.critic", "got 3; should be a mapping with updates, kind"),
        ({"terms": [{}, {"weight": -1}]}, "objective.terms[1].weight", "got -1; should be greater than or equal to 0"),
        ({"terms": [{"wait": 1}]}, "objective.terms[0].wait", "Did you mean 'weight'? Allowed: weight, critic"),
        ({"terms": [{"critic": {"x": 1}}]}, "objective.terms[0].critic.x", "unknown key. Allowed: updates, kind"),
        ({"by_role": {"fake": {"updates": "many"}}}, "objective.by_role.fake.updates", "should be a valid integer"),
        ({"by_role": {"fake": {"update": 1}}}, "objective.by_role.fake.update", "Did you mean 'updates'?"),
        ({"times": {"kind": "log_normal"}}, "objective.times.std", "is required"),
        ({"times": {"kind": "log_normal", "std": -1}}, "objective.times.std", "std is positive (got -1)"),
        ({"times": {"kind": "log_normal", "std": 1, "low": 0}}, "objective.times.low", "Allowed: kind, mean, std"),
        ({"times": {"kind": "log_norml"}}, "objective.times.kind",
         "got 'log_norml'. Did you mean 'log_normal'? Allowed: uniform, log_normal"),
        ({"start": {"kind": "uniform", "lo": 1}}, "objective.start.lo", "Did you mean 'low'? Allowed: kind, low"),
        ({"rat": 1}, "objective.rat", "objective 'nested' has no option 'rat'. Did you mean 'rate'?"),
        ({"rate": 2, "terms": [{}]}, "objective", "terms want a rate of at most 1"),
    ],
)  # fmt: skip
def test_a_nested_option_is_named_by_its_full_path(options, path, said):
    error = refused(**options)
    paths = {error.path, *(line.split("  ")[1].partition(": ")[0] for line in str(error).splitlines()[1:])}
    assert path in paths and said in str(error)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("critic_updates", "Options stand in blocks: did you mean 'critic.updates'? Allowed: critic, times"),
        ("mean", "Options stand in blocks: did you mean 'times.mean'?"),
        ("low", "Options stand in blocks: did you mean 'times.low' or 'start.low'?"),
        ("weight", "has no option 'weight'. Allowed:"),  # of an item of a list: there is no one place for it
        ("end", "has no option 'end'. Allowed:"),  # of a ramp, which stands in a number's place
    ],
)
def test_an_option_without_its_block_gets_the_name_of_its_block(given, hint):
    error = refused(**{given: 1})
    assert error.path == f"objective.{given}" and hint in str(error)


def test_several_options_without_their_blocks_are_one_line():
    assert str(refused(critic_updates=1, mean=0.5)).splitlines() == [
        "my.yaml  objective.critic_updates: options of objective 'nested' stand in blocks. "
        "Write critic.updates for critic_updates, times.mean for mean"
    ]
    assert str(refused(critic_updates=1, gan=0.5)).endswith("Write critic.updates for critic_updates; there is no gan")
    assert len(str(refused(gan=1, other=2)).splitlines()) == 2


def test_every_wrong_option_is_listed_with_its_path():
    text = str(refused(critic={"updates": 0}, terms=[{"weight": -1}]))
    assert text.splitlines() == [
        "my.yaml  objective.critic.updates: got 0; should be greater than or equal to 1",
        "my.yaml  objective.terms[0].weight: got -1; should be greater than or equal to 0",
    ]


def test_without_a_recipe_the_owner_stands_for_the_file():
    from limbeck import Component
    from limbeck.plugins.registry import Registry

    registry = Registry()

    class Target:
        Options = Nested

    with (
        registry.register([Component("objective", "nested", Target)], name="toy"),
        pytest.raises(OptionError, match=r"^objective 'nested'  critic\.updates: got 0; should be greater"),
    ):
        registry.create("objective", "nested", critic={"updates": 0})
