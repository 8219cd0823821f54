"""Recipes: reading, merging, overriding, checking; wrong input never gives anything but a LimbeckError."""

import math
import string
import subprocess
import sys
from importlib.util import find_spec
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pydantic import BaseModel, Field

import limbeck
from limbeck.errors import LimbeckError, MissingAbility, OptionError, RecipeError, UnknownComponent
from limbeck.manifest import Component, Needs
from limbeck.options import Options
from limbeck.recipe import Recipe, load, text as recipe_text
from limbeck.recipe.schema import SLOTS, Block, Schema, Section


class LossOptions(Options):
    critic_updates: int = Field(5, ge=1)
    weight: float = 1.0
    with_gan: bool = False

    def needs(self):
        return Needs(data={"samples"}) if self.with_gan else Needs()


class NetOptions(Options):
    width: int = 8
    channels: tuple[int, ...] = (8, 16)


COMPONENTS = [
    Component("objective", "toy_loss", "no_such_module:Loss", options="toy_options:LossOptions",
              needs=Needs(generator={"denoiser"}, teacher={"denoiser"})),
    Component("objective", "toy_map", "no_such_module:Map", needs=Needs(generator={"flow_map"})),
    Component("objective", "toy_fit", "no_such_module:Fit", needs=Needs(generator={"denoiser"}, data={"samples"})),
    Component("teacher", "toy", "no_such_module:T", can={"denoiser"}),
    Component("generator", "toy", "no_such_module:G", options="toy_options:NetOptions", can={"denoiser"}),
    Component("generator", "mapper", "no_such_module:G", can={"denoiser", "flow_map"}),
    Component("data", "toy", "no_such_module:D", can={"samples"}),
    Component("sampler", "walk", "no_such_module:S"),
    Component("metric", "distance", "no_such_module:M"),
]  # fmt: skip
BASE = """\
teacher: {use: toy/toy}
generator: {use: toy/toy}
objective:
  use: toy_loss
  critic_updates: 3
data: {use: toy/toy}
train:
  steps: 20
  lr: 2e-4
  ema: 0.99
  phases: {critic: {lr: 1e-3}}
evaluate: {every: 10, metrics: [distance]}
"""


@pytest.fixture(autouse=True, scope="module")
def toy_plugin():
    """Components whose targets cannot be imported: recipes are checked without importing them."""
    from types import ModuleType

    from limbeck.plugins.registry import registry

    module = ModuleType("toy_options")
    module.LossOptions, module.NetOptions = LossOptions, NetOptions
    sys.modules["toy_options"] = module
    with registry.register(COMPONENTS, name="toy"):
        yield
    del sys.modules["toy_options"]


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(text, name="my.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return make


def test_a_recipe_file_becomes_typed_blocks_and_sections(write):
    recipe = load(write(BASE))
    assert recipe.name == "my"
    assert recipe.objective.use == "toy_loss" and recipe.objective.options["critic_updates"] == 3
    assert recipe.objective.options["weight"] == 1.0, "defaults of the component's options are written down"
    assert recipe.teacher.guidance is None and recipe.generator.init == "teacher"
    assert (recipe.train.steps, recipe.train.lr, recipe.train.ema) == (20, 2e-4, (0.99,))
    assert recipe.train.phases["critic"].lr == 1e-3 and recipe.train.phases["critic"].clip is None
    assert [m.use for m in recipe.evaluate.metrics] == ["distance"]
    assert recipe.sampling is None and recipe.source is None


def test_init_is_random_without_a_teacher(write):
    recipe = load(write("generator: toy/toy\nobjective: toy_fit\ndata: toy/toy\n"))
    assert recipe.generator.init == "random" and recipe.teacher is None


def test_a_copy_of_the_teacher_keeps_its_empty_options_and_others_are_completed(write):
    assert load(write(BASE)).generator.options == {}
    assert load(write(BASE), ["generator.init=random"]).generator.options == {"width": 8, "channels": [8, 16]}


def test_a_resolved_recipe_dumps_and_reloads_identically(write):
    recipe = load(write(BASE), ["teacher.guidance={scale: 2, interval: [0.1, 0.9]}", "sampling={use: walk, steps: 2}"])
    again = load(write(recipe.to_yaml(), "again.yaml"))
    assert again == recipe and again.to_yaml() == recipe.to_yaml()
    assert again.teacher.guidance.interval == (0.1, 0.9)
    assert load(recipe) == recipe
    assert load(recipe.to_dict()) == recipe
    assert load(recipe, ["train.steps=21"]) != recipe


def test_overrides_are_yaml_and_applied_last(write):
    name = write(BASE)
    recipe = load(name, ["train.steps=300", "train.ema=[0.9, 0.99]", "teacher.guidance=1.5",
                                 "train.precision=no"],
                          train={"steps": 5, "batch_size": 7})  # fmt: skip
    assert (recipe.train.steps, recipe.train.batch_size) == (300, 7)
    assert recipe.train.ema == (0.9, 0.99) and recipe.teacher.guidance.scale == 1.5 and recipe.train.precision == "no"
    assert load(name, ["train.ema=null"]).train.ema == ()


def test_another_component_forgets_the_options_of_the_former_in_any_order(write):
    name = write(BASE)
    recipe = load(name, ["objective.use=toy_fit"])
    assert recipe.objective.options == {}
    recipe = load(name, ["generator.width=4", "generator.use=mapper"], check=False)
    assert recipe.generator.options == {"width": 4}
    assert load(name, ["objective=toy_fit"]).objective.use == "toy_fit"


def test_extends_takes_a_path_and_merges_key_by_key(write):
    write(BASE, "shared/base.yaml")
    write("extends: base.yaml\nname: middle\ntrain: {steps: 30}\n", "shared/middle.yaml")
    recipe = load(write("extends: shared/middle.yaml\nobjective: {weight: 2}\n"))
    assert recipe.name == "my", "a name is not inherited"
    assert recipe.train.steps == 30 and recipe.train.lr == 2e-4
    assert recipe.objective.options["critic_updates"] == 3 and recipe.objective.options["weight"] == 2


def test_extends_in_a_circle_is_refused(write):
    write("extends: b.yaml\n", "a.yaml")
    write("extends: a.yaml\n", "b.yaml")
    with pytest.raises(RecipeError, match=r"a.yaml -> b.yaml -> a.yaml"):
        load("a.yaml")


def test_an_error_in_an_extended_file_names_that_file_and_line(write):
    write(BASE.replace("lr: 2e-4", "lr: fast"), "base.yaml")
    with pytest.raises(OptionError) as caught:
        load(write("extends: base.yaml\ntrain: {steps: 3}\n"))
    assert (caught.value.source, caught.value.line, caught.value.path) == ("base.yaml", 9, "train.lr")


@pytest.mark.parametrize(
    ("old", "new", "where", "parts"),
    [
        ("steps: 20", "stepps: 20", "my.yaml:8  train.stepps", ["unknown key", "Did you mean 'steps'", "batch_size"]),
        ("steps: 20", "steps: 0", "my.yaml:8  train.steps", ["got 0", "greater than or equal to 1"]),
        ("steps: 20", "optimizer: adan", "my.yaml:8  train.optimizer", ["got 'adan'", "Did you mean 'adam'", "radam"]),
        ("lr: 2e-4", "lr: .nan", "my.yaml:9  train.lr", ["got nan"]),
        ("ema: 0.99", "ema: 1.0", "my.yaml:10  train.ema", ["got 1.0", "less than 1"]),
        ("critic: {lr: 1e-3}", "critic: {lrr: 1}", "my.yaml:11  train.phases.critic.lrr",
         ["Did you mean 'lr'", "warmup"]),
        ("use: toy_loss", "use: toy_los", "my.yaml:4  objective.use",
         ["no objective named 'toy_los'", "Did you mean 'toy_loss'"]),
        ("  use: toy_loss\n", "", "my.yaml:3  objective.use", ["is required"]),
        ("critic_updates: 3", "critic_update: 3", "my.yaml:5  objective.critic_update",
         ["objective 'toy_loss' has no option 'critic_update'", "Did you mean 'critic_updates'"]),
        ("critic_updates: 3", "critic_updates: many", "my.yaml:5  objective.critic_updates",
         ["got 'many'", "valid integer"]),
        ("data:", "dat:", "my.yaml:6  dat", ["unknown key", "Did you mean 'data'", "sampling"]),
        ("teacher: {use: toy/toy}", "teacher: {use: toy/toy, guidance: much}", "my.yaml:1  teacher.guidance",
         ["got 'much'"]),
        ("[distance]", "[distanse]", "my.yaml:12  evaluate.metrics[0].use", ["Did you mean 'distance'"]),
        ("generator: {use: toy/toy}", "", "my.yaml:1  generator", ["is required"]),
        ("objective:", "objective: [", "my.yaml:5", ["not valid YAML"]),
        ("steps: 20", "steps: 20\n  steps: 30", "my.yaml:9  train.steps", ["given twice"]),
        ("steps: 20", "steps: !!python/object:os.system x", "my.yaml:8  train.steps", ["not allowed"]),
    ],
)  # fmt: skip
def test_an_error_gives_file_line_path_value_allowed_values_and_nearest_name(write, old, new, where, parts):
    assert old in BASE
    with pytest.raises(LimbeckError) as caught:
        load(write(BASE.replace(old, new, 1)))
    assert str(caught.value).startswith(where), str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_several_problems_are_told_together(write):
    with pytest.raises(OptionError) as caught:
        load(write(BASE.replace("steps: 20", "stepps: 20").replace("lr: 2e-4", "lr: -1")))
    first, second = str(caught.value).splitlines()
    assert first.startswith("my.yaml:8  train.stepps") and second.startswith("my.yaml:9  train.lr: got -1")


def test_an_override_that_is_wrong_names_itself(write):
    name = write(BASE)
    with pytest.raises(OptionError, match=r"override 'train.step=3'  train.step: unknown key. Did you mean 'steps'"):
        load(name, ["train.step=3"])
    for text in ("train.steps", "=3", "train..steps=3"):
        with pytest.raises(RecipeError, match="not of the form path=value"):
            load(name, [text])


def test_a_partner_that_lacks_an_ability_is_refused_with_who_offers_it(write):
    with pytest.raises(MissingAbility) as caught:
        load(write(BASE), ["objective.use=toy_map"])
    said = str(caught.value)
    for part in (
        "'toy_map' needs of the generator",
        "flow_map: maps x_t to x_s",
        "'toy/toy' offers denoiser",
        "toy/mapper",
        "toy_loss",
    ):
        assert part in said
    assert load("my.yaml", ["objective.use=toy_map", "generator={use: mapper, init: random}"])


def test_needs_that_depend_on_options_are_checked_too(write):
    name = write(BASE)
    assert load(name, ["data=null"]).data is None
    with pytest.raises(MissingAbility, match="needs of the data"):
        load(name, ["data=null", "objective.with_gan=true"])


def test_a_component_may_be_an_object_in_python_and_leaves_a_placeholder(write):
    class MyLoss:
        pass

    mine, callback = MyLoss(), MyLoss()
    recipe = load(write(BASE), objective=mine, callbacks=[callback])
    assert recipe.objective.object is mine and recipe.objective.options == {}
    assert recipe.callbacks[0].object is callback
    assert recipe.teacher.object is None
    text = recipe.to_yaml()
    assert text.startswith("# given as Python objects, pass them again: objective, callbacks[0]\n") and "MyLoss" in text
    with pytest.raises(RecipeError, match=r"was a Python object in the run that wrote this recipe; pass it again"):
        load(write(text, "again.yaml"))
    assert load("again.yaml", objective=mine, callbacks=[callback]).objective.object is mine
    assert load(recipe).objective.object is mine
    assert load(recipe, objective="toy_fit").objective.object is None


def test_a_mapping_is_a_recipe_and_keyword_blocks_join_it():
    recipe = load({"generator": "mapper", "objective": {"use": "toy_map"}}, train={"steps": 3}, sampling="walk")
    assert recipe.name == "recipe" and recipe.sampling.use == "walk" and recipe.train.steps == 3
    with pytest.raises(OptionError, match="argument  train.stesp"):
        load(recipe, train={"stesp": 3})


@pytest.mark.parametrize(
    "text", ["", "- a\n", "3\n", "null\n", "\x00", "a: \ud7ff\n\x01", "a: &x [*x]\n", "[" * 3000, "{a: " * 500]
)
def test_what_is_not_a_recipe_is_refused(write, text):
    with pytest.raises(RecipeError):
        load(write(text))


def test_aliases_cannot_unfold_into_billions(write):
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    with pytest.raises(RecipeError, match="more than"):
        load(write(text))


def test_files_that_cannot_be_read_are_refused_by_name(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="UTF-8"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(RecipeError, match="no recipe file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(UnknownComponent, match="A recipe is a registered name, a .yaml file or a run folder"):
        load("no_such_recipe")


def test_a_run_folder_is_its_recipe(write):
    write(load(write(BASE)).to_yaml(), "runs/mine/recipe.yaml")
    assert load("runs/mine").name == "my"


@pytest.mark.skipif(
    not find_spec("limbeck_image"), reason="needs limbeck-image, an installed plugin with torch behind it"
)
def test_checking_imports_neither_component_nor_torch(write):
    name = write(
        "generator: image/digits\nteacher: image/digits\ndata: image/digits\n"
        "objective: {use: dmd2, critic_updatess: 3}\n"
    )
    code = (
        "import sys\nfrom limbeck.recipe import Recipe, load\nfrom limbeck.errors import LimbeckError\n"
        f"try:\n    load({name!r})\nexcept LimbeckError as error:\n    print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, torch = done.stdout.strip().rsplit("\n", 1)
    assert "my.yaml:4" in said and torch == "False"


# --- YAML ------------------------------------------------------------------------------------------------------------


def test_yaml_is_read_as_version_1_2():
    text = "a: no\nb: 2e-4\nc: 1:30\nd: 010\ne: 2020-01-01\nf:\ng: -.inf\nh: .5\ni: 'true'\nj: True"
    data, origins = recipe_text.parse(text, "x")
    assert data == {"a": "no", "b": 2e-4, "c": "1:30", "d": 10, "e": "2020-01-01", "f": None, "g": -math.inf, "h": 0.5,
                    "i": "true", "j": True}  # fmt: skip
    assert origins["h",].line == 8


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
    | st.sampled_from(["no", "on", "~", "1:30", "2e-4", "0x1f", "=", "<<", "- a", "null", "", " ", "1_000",
                       "!x", "*a", "&a"])
)  # fmt: skip
keys = st.text(max_size=8) | st.sampled_from(["on", "1", "null", "~", "true", "<<", "2e-4"])
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@settings(max_examples=400, deadline=None)
@given(documents)
def test_what_is_dumped_reads_back_equal(data):
    assert recipe_text.parse(recipe_text.dump(data), "x")[0] == data


# --- wrong YAML by the thousand --------------------------------------------------------------------------------------

words = st.sampled_from(
    [*Recipe.model_fields, "extends", "use", "steps", "lr", "guidance", "init", "metrics", "phases",
     "critic", "scale", "interval", "ema", "betas", "checkpoint", "every", "toy_loss", "toy/toy", "walk", "distance",
     "critic_updates", "width"]
)  # fmt: skip
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | keys, inner, max_size=4),
    max_leaves=10,
)


def only_limbeck_errors(load):
    try:
        load()
    except LimbeckError as error:
        assert str(error).strip()


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(words | keys, values, max_size=6))
def test_any_mapping_is_a_recipe_or_a_limbeck_error(data):
    only_limbeck_errors(lambda: load(data))


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(words, values, min_size=1, max_size=3))
def test_any_change_of_a_good_recipe_is_a_recipe_or_a_limbeck_error(changes):
    base = recipe_text.parse(BASE, "base")[0]
    only_limbeck_errors(lambda: load({**base, **changes}))


@settings(max_examples=1000, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="ab:{}[]-&*!|>#'\" \n\t%@,0", max_size=60))
def test_any_text_is_data_or_a_limbeck_error(text):
    only_limbeck_errors(lambda: recipe_text.parse(text, "x"))


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(BASE)), st.integers(0, 30), st.text(alphabet=string.printable, max_size=12))
def test_any_edit_of_a_good_file_is_a_recipe_or_a_limbeck_error(start, length, typed):
    text = BASE[:start] + typed + BASE[start + length :]
    only_limbeck_errors(lambda: load(recipe_text.parse(text, "x")[0] or {}))


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.builds("{}={}".format, st.lists(words | keys, max_size=3).map(".".join), st.text(max_size=10)), max_size=3
    )
)
def test_any_override_is_applied_or_a_limbeck_error(overrides):
    base = recipe_text.parse(BASE, "base")[0]
    only_limbeck_errors(lambda: load(base, overrides))


def test_recipes_are_reachable_from_the_package():
    assert limbeck.registry.find("objective", "toy_loss")


def test_every_place_of_the_schema_that_names_a_component_has_a_slot():
    """`SLOTS` is the one list of them; pydantic knows the same from the types."""
    found = {}

    def walk(model, path):
        for name, field in model.model_fields.items():
            for mentioned in mentions(field.annotation):
                if issubclass(mentioned, Block):
                    found[(*path, name)] = mentioned, "tuple" in str(field.annotation)
                elif issubclass(mentioned, Section):
                    walk(mentioned, (*path, name))

    def mentions(annotation):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for argument in get_args(annotation) for model in mentions(argument)]

    walk(Schema, ())
    assert found == {slot.path: (slot.model, slot.many) for slot in SLOTS}
