"""Losses and gradients are those of tests/guard/values.json: bit by bit where they were recorded, to 1e-9 elsewhere.

`python tools/guard.py check` compares the rest as well, and says by how much something differs.
"""

import json
import sys
from pathlib import Path

import pytest
import torch

from limbeck import registry

sys.path.append(str(Path(__file__).parent / "guard"))
from cases import cases
from sections import sections
from values import differences, digest, losses, machine, objective_of

RECORDED = json.loads((Path(__file__).parent / "guard" / "values.json").read_text())
BITWISE = RECORDED["machine"] == machine()
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


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_losses_and_gradients_are_the_recorded_ones(case):
    now = json.loads(json.dumps(losses(case)))
    assert not differences(RECORDED["losses"][case.id], now, bitwise=BITWISE)


def test_everything_recorded_is_still_computed_and_the_reverse():
    for name, section in sections().items():
        assert list(RECORDED[name]) == list(section.names), f"{name}: run tools/guard.py record"


def test_every_objective_is_recorded_on_every_kind_of_problem_that_it_can_run_on():
    recorded = {(case.objective, case.problem.partition("-")[0]) for case in CASES.values()}
    ours = [e for e in registry.components("objective") if e.distribution.startswith("limbeck")]
    assert len(ours) >= 21
    for entry in ours:
        needs = registry.needs_of(entry)
        fits = [
            kind
            for kind, (generator, teacher) in CAN.items()
            if needs.generator <= generator and needs.teacher <= teacher
        ]
        assert fits, entry.qualified
        missing = [kind for kind in fits if (entry.component.name, kind) not in recorded]
        assert not missing, f"{entry.qualified}: no case on {', '.join(missing)}; add it to tests/guard/cases.py"


def test_a_last_bit_and_a_sign_are_seen():
    case = CASES["dmd2 on image"]
    objective, _, _ = objective_of(case)
    weights = list(objective.roles()["generator"].parameters())
    with torch.no_grad():
        before = digest(weights)
        weights[0].flatten()[3] = torch.nextafter(weights[0].flatten()[3], torch.tensor(9.0, dtype=torch.float64))
        after = digest(weights)
    assert before["norm"] == after["norm"] or BITWISE
    assert differences({"w": before}, {"w": after}, bitwise=True)
    assert not differences({"w": before}, {"w": after}, bitwise=False)
    recorded = RECORDED["losses"][case.id]["0 generator 0"]
    negative = {**recorded, "loss": f"-{recorded['loss']}"}
    assert differences(recorded, negative, bitwise=False) == ["loss: relative difference 2"]


def test_the_same_tensors_under_other_names_are_the_same():
    one, other = torch.arange(3.0), torch.arange(4.0)
    assert not differences({"w": digest([one, other])}, {"w": digest([other, one])}, bitwise=True)
    assert differences({"w": digest([one, other])}, {"w": digest([one, -other])}, bitwise=True)
