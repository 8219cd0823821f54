"""The manifest says what is there: targets import, options are theirs, and reading it needs no torch."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from limbeck.interfaces import Data, Objective, Sampler, Source
from limbeck.manifest import ABILITIES
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
    assert component.summary and not component.summary.endswith(".")
    words = set(component.can).union(*component.needs.by_role().values())
    assert words <= set(ABILITIES)
    if component.kind == "objective":
        assert target.needs == component.needs
        assert {"family", "formula", "cost", "fails"} <= set(component.details)
    for field, info in options.model_fields.items():
        assert info.description, f"option {field} has no description"


def test_the_manifest_and_the_options_import_no_torch():
    code = (
        "import sys, limbeck_diffusion._plugin as p; p.components(); "
        "assert not {'torch', 'pydantic'} & set(sys.modules); "
        "import limbeck_diffusion.options.base; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert LIMBECK_API == 1
