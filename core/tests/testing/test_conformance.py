"""Everything that is installed, held against the contract: one kit per plugin, one test per possible cell of the
matrix."""

import pytest
import torch

import limbeck
from limbeck.plugins.registry import registry
from limbeck.testing.conformance import CHECKS
from limbeck.testing.conformance.cells import possible_cells, train_cell
from limbeck.testing.conformance.kits import check


def ten_labels(n):
    return torch.arange(n) % 10


def some_views(n):
    """Prompts and cameras, as the 3D data gives them."""
    return registry.create("data", "3d/prompt").conditions(n, limbeck.rng(0))


SEEN = ("generator views", "generator image", "generator voxels", "generator splats", "teacher views", "teacher oracle")

# What a component needs to be judged beyond its defaults, and what is known not to hold, by plugin and component.
SETTINGS = {  # two_times: what flow_map_time needs
    "audio": {"component_options": {"generator mel": {"two_times": True}}},
    "video": {
        "component_options": {f"generator moving_digits{kind}": {"two_times": True} for kind in ("", "_causal")},
    },
    "image": {
        "component_options": {"generator digits": {"two_times": True}},
        "component_conditions": {"generator digits": ten_labels, "teacher digits": ten_labels},
    },
    "text": {"component_options": {"data pydocs": {"prompt": 8}}},  # conditions: with prompt
    "3d": {"component_conditions": dict.fromkeys(SEEN, some_views)},
}

MANIFESTS = dict(registry.implementations())
PLUGIN_CHECKS = [name for name in CHECKS["plugin"] if name != "possible_cells_train"]  # one test per cell, below


@pytest.fixture(scope="module", params=sorted(MANIFESTS))
def report(request):
    return check(MANIFESTS[request.param], "plugin", **SETTINGS.get(request.param, {}), skip_cells=True)


@pytest.mark.parametrize("name", PLUGIN_CHECKS)
def test_every_installed_plugin_conforms(report, name):
    result = next(r for r in report.results if r.name == name)
    if result.outcome == "skipped":
        pytest.skip(result.reason)
    assert result.ok, result.reason


@pytest.mark.parametrize("cell", possible_cells(), ids=str)
def test_every_cell_that_the_matrix_calls_possible_trains(cell):
    last = train_cell(cell, steps=2, batch_size=8)
    assert last["step"] == 2 and last["loss"] == last["loss"]


def test_there_are_plugins_and_cells_to_judge():
    if not {"diffusion", "image", "text", "3d", "audio", "video"} <= set(MANIFESTS):
        pytest.skip(f"only these plugins are installed: {sorted(MANIFESTS)}")
    cells = {(c.objective.component.name, c.generator.qualified) for c in possible_cells()}
    assert cells >= {
        ("flow_matching", "image/digits"), ("ode_pairs", "image/digits"),
        *((name, use) for name in ("dmd2", "consistency") for use in ("image/digits", "3d/views")),
        ("dmd2", "text/pydocs_masked"), ("consistency", "text/pydocs_masked"),
        *((name, f"3d/{scene}") for name in ("sds", "csd", "vsd", "ism") for scene in ("image", "voxels", "splats")),
        *((name, "text/pydocs_lm") for name in ("fkl", "gkd", "seq_kd", "language_modelling")),
        ("mdlm", "text/pydocs_masked"), ("sdtt", "text/pydocs_masked"),
        *((name, use) for name in ("dmd2", "consistency") for use in ("audio/mel", "video/moving_digits")),
        ("comospeech", "audio/mel"), ("self_forcing", "video/moving_digits_causal"),
        ("diffusion_forcing", "video/moving_digits"), ("diffusion_forcing", "video/moving_digits_causal"),
    }  # fmt: skip
