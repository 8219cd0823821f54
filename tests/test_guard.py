"""The numbers of tests/guard/values.json still come out: bit by bit where they were recorded, on other processors to a
tolerance (1e-9 for losses and gradients in float64).

`python tools/guard.py check` says for all of them by how much they differ. Bundled models and whole runs are slow.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from limbeck import registry
from limbeck.plugins.abilities import needs_of

sys.path.append(str(Path(__file__).parent / "guard"))
import bundled
import runs
from cases import SOURCES, WALKS, cases
from sections import sections
from values import differences, digest, machine, objective_of

RECORDED = json.loads((Path(__file__).parent / "guard" / "values.json").read_text())
BITWISE = RECORDED["machine"] == machine()
SECTIONS = sections()
CASES = {case.id: case for case in cases()}

# What the partners of a problem can do, in the words of limbeck.manifest.ABILITIES.
_NETWORK = {"gaussian", "denoiser", "sampling", "features", "trainable_copy", "null_condition"}
CAN = {
    "image": (_NETWORK, _NETWORK),
    "sound": (_NETWORK, _NETWORK),
    "clip": (_NETWORK | {"frame_time", "cache"}, _NETWORK | {"frame_time"}),
    "scene": ({"sampling", "renders"}, _NETWORK),
    "tokens": (_NETWORK - {"gaussian"} | {"categorical"},) * 2,
    "language": ({"log_probs", "generates", "trainable_copy"},) * 2,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "section, name",
    [
        pytest.param(key, name, id=f"{key}/{name}", marks=[] if section.quick else [pytest.mark.slow])
        for key, section in SECTIONS.items()
        for name in section.names
    ],
)
def test_the_recorded_numbers_come_out(section, name):
    now = json.loads(json.dumps(SECTIONS[section].value(name)))
    tolerance = 0.0 if BITWISE else SECTIONS[section].tolerance(name)
    assert not differences(RECORDED[section][name], now, tolerance=tolerance)


def test_everything_recorded_is_still_computed_and_the_reverse():
    for key, section in SECTIONS.items():
        assert list(RECORDED[key]) == list(section.names), f"{key}: run tools/guard.py record --only '{key}/*'"


# --- what has to be there --------------------------------------------------------------------------------------------


def ours(kind):
    return [entry for entry in registry.components(kind) if entry.distribution.startswith("limbeck")]


def test_every_objective_is_recorded_on_every_kind_of_problem_that_it_can_run_on():
    recorded = {(case.objective, case.problem.partition("-")[0]) for case in CASES.values()}
    assert len(ours("objective")) >= 21
    for entry in ours("objective"):
        needs = needs_of(registry.registry, entry)
        fits = [
            kind
            for kind, (generator, teacher) in CAN.items()
            if needs.generator <= generator and needs.teacher <= teacher
        ]
        assert fits, entry.qualified
        missing = [kind for kind in fits if (entry.component.name, kind) not in recorded]
        assert not missing, f"{entry.qualified}: no case on {', '.join(missing)}; add it to tests/guard/cases.py"


# Components without values of their own, and why.
LEFT_OUT = {
    "diffusers": "a pipeline from somewhere; plugins/diffusion/tests compares tiny ones with diffusers itself",
    "causal_lm": "a model from somewhere",
    "image_folder": "files of somebody's own",
    "audio_folder": "files of somebody's own",
    "video_folder": "files of somebody's own",
    "prompts": "words for a teacher that reads them: a pipeline",
    "spoken_words": "spoken_digits with other words",
    "real_time_factor": "a clock",
    "streaming_speed": "a clock",
    "drift": "a minute of clips",
}


@pytest.mark.parametrize("kind", ["data", "teacher", "generator", "sampler", "source", "metric"])
def test_every_component_is_recorded_or_left_out_for_a_reason(kind):
    by_kind = {
        "data": {name for name, _ in bundled.DATA.values()},
        "teacher": {name for what, name, *_ in bundled.TEACHERS.values() if what == "teacher"},
        "generator": {name for what, name, *_ in bundled.FRESH.values() if what == "generator"},
        "sampler": {row[1] for row in WALKS},
        "source": {row[1] for row in SOURCES} | {"cameras"},
        "metric": {name for name, *_ in bundled.METRICS.values()},
    }
    recorded = {name.rpartition("/")[2] for name in by_kind[kind]}
    if kind == "metric":  # those of models are in runs
        text = " ".join(word for _, overrides in runs.RUNS.values() for word in overrides if "metrics=" in word)
        recorded |= {entry.component.name for entry in ours(kind) if entry.component.name in text}
    assert {entry.component.name for entry in ours(kind)} - recorded <= set(LEFT_OUT)


def test_every_recipe_is_run_or_left_out_for_a_reason():
    run = {recipe for recipe, _ in runs.RUNS.values()}
    assert runs.recipes() == run | set(runs.LEFT_OUT)
    assert not run & set(runs.LEFT_OUT)


# --- the guard itself ------------------------------------------------------------------------------------------------


def test_a_last_bit_and_a_sign_are_seen():
    case = CASES["dmd2 on image"]
    objective, _, _ = objective_of(case)
    weights = list(objective.roles()["generator"].parameters())
    with torch.no_grad():
        before = digest(weights)
        weights[0].flatten()[3] = torch.nextafter(weights[0].flatten()[3], torch.tensor(9.0, dtype=torch.float64))
        after = digest(weights)
    assert differences({"w": before}, {"w": after}, tolerance=0.0)
    assert not differences({"w": before}, {"w": after}, tolerance=1e-9)
    recorded = RECORDED["losses"][case.id]["0 generator 0"]
    negative = {**recorded, "loss": f"-{recorded['loss']}"}
    assert differences(recorded, negative, tolerance=1e-9) == ["loss: relative difference 2"]


def test_the_same_tensors_under_other_names_are_the_same():
    one, other = torch.arange(3.0), torch.arange(4.0)
    assert not differences({"w": digest([one, other])}, {"w": digest([other, one])}, tolerance=0.0)
    assert differences({"w": digest([one, other])}, {"w": digest([one, -other])}, tolerance=0.0)
