"""dmd2 beside nvidia-modelopt's `modelopt.torch.fastgen`: the same weights and draws give the same loss and
gradients."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.xdist_group("fastgen")  # what is made for the module is made once

spec = importlib.util.spec_from_file_location("parity", Path(__file__).parent.parent / "benchmarks/fastgen_parity.py")
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)


@pytest.fixture(scope="module")
def sides():
    return parity.both_sides(width=64, batch=32, dtype=torch.float64)


@pytest.mark.parametrize("phase", [parity.GENERATOR, parity.CRITIC], ids=["generator", "critic"])
def test_loss_and_gradients_agree_with_the_peer(sides, phase):
    ours, theirs, networks = sides
    # the peer normalises in float32 by design, so its generator loss carries float32 rounding
    tolerance = 1e-6 if phase is parity.GENERATOR else 1e-10
    torch.testing.assert_close(ours(phase), theirs(phase), rtol=tolerance, atol=0.0)
    mine, yours = networks[phase]
    for a, b in zip(mine.parameters(), yours.parameters(), strict=True):
        assert b.grad.abs().max() > 0
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=tolerance * b.grad.abs().max().item())


def test_no_more_is_kept_for_the_backward_pass_than_the_peer_keeps(sides):
    ours, theirs, _ = sides
    for phase in (parity.GENERATOR, parity.CRITIC):
        mine, yours = parity.saved_bytes(lambda p=phase: ours(p)), parity.saved_bytes(lambda p=phase: theirs(p))
        assert 0 < mine <= yours, (phase.name, mine, yours)
