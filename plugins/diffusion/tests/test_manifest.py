"""The manifest says what is there: targets import, options are theirs, and reading it needs no torch."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from limbeck.catalogue.cards import options_table
from limbeck.interfaces import Data, Objective, Sampler, Source
from limbeck.manifest import ABILITIES
from limbeck.options import differences
from limbeck.plugins.registry import options_model, resolve
from limbeck_diffusion._plugin import LIMBECK_API, components

BASES = {"objective": Objective, "sampler": Sampler, "source": Source, "data": Data}


def attribute(path):
    module, name = path.split(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("component", components(), ids=lambda c: f"{c.kind}-{c.name}")
def test_every_component_is_what_it_says(component):
    target = attribute(component.target)
    options = attribute(component.options)
    if component.kind == "exporter":
        assert {"run", "directory", *options.model_fields} == set(inspect.signature(target).parameters)
    else:
        assert issubclass(target, BASES[component.kind])
        assert target.Options is options
        assert "needs" not in vars(target), "needs stand in the manifest"
    assert component.summary and not component.summary.endswith(".")
    words = set(component.can).union(*component.needs.by_role().values())
    assert words <= set(ABILITIES)
    if component.kind == "objective":
        assert {"family", "formula", "cost", "best for", "fails"} <= set(component.details)
    for row in options_table(options):
        assert row["description"], f"option {row['name']} has no description"


@pytest.mark.parametrize("component", [c for c in components() if c.defaults], ids=lambda c: c.name)
def test_a_preset_is_other_defaults_of_the_component_that_it_names(component):
    (base,) = [c for c in components() if (c.kind, c.name) == (component.kind, component.preset_of)]
    assert (base.target, base.options) == (component.target, component.options)
    made = resolve(component.kind, component.name)
    assert made is not attribute(component.target) and issubclass(made, attribute(component.target))
    assert differences(made.Options, base_options := attribute(base.options))
    assert made().options == made.Options() and made().options != base_options()
    assert (made.name, made.needs) == (component.name, component.needs)


def test_the_presets_have_their_published_defaults():
    found = {
        c.name: differences(options_model(c.kind, c.name), options_model(c.kind, c.preset_of))
        for c in components()
        if c.preset_of
    }
    scenes = {"field.weight": "sds", "field.reduction": "sum", "field.normalise": None}
    assert found == {
        "denoising": {"error": "edm", "times.kind": "log_normal", "times.mean": -1.2, "times.std": 1.2},
        "comospeech": {
            "solver": "ddim",
            "times.nodes": 50,
            "times.spacing": "karras",
            "end.kind": "sigma_min",
            "metric.distance": "l2",
            "target.decay": 0.95,
        },
        "self_forcing": {"rollout.kind": "chunked", "rollout.steps": 4},
        "sds": {"field.subtract": "noise", **scenes},
        "csd": {"field.subtract": "null", **scenes},
        "vsd": {"critic.updates": 1, "critic.loss": "eps", **scenes},
    }


def test_the_manifest_and_the_options_import_no_torch():
    code = (
        "import sys, limbeck_diffusion._plugin as p; p.components(); "
        "assert not {'torch', 'pydantic'} & set(sys.modules); "
        "import limbeck_diffusion.options.matching; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert LIMBECK_API == 1


def test_the_card_lists_the_options_of_every_kind_of_a_block():
    from limbeck.catalogue.cards import options_table
    from limbeck.plugins.registry import registry

    rows = {row["name"]: row for row in options_table(registry.options_model("objective", "diffusion/dmd2"))}
    assert rows["rollout.kind"]["type"] == "few_step | chunked" and rows["rollout.kind"]["default"] == "few_step"
    assert rows["rollout.window"]["description"].startswith("kind chunked: ")
    assert not rows["rollout.random_tokens"]["description"].startswith("kind ")
    streamed = {row["name"]: row for row in options_table(registry.options_model("objective", "self_forcing"))}
    assert streamed["rollout.random_tokens"]["description"].startswith("kind few_step: ")
    assert streamed.keys() == rows.keys() and streamed["rollout.steps"]["default"] == "4"
