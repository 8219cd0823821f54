"""Distributions of the training time."""

import math

import pytest
import torch
from strange_process import Bell

from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws
from limbeck_diffusion.formulas.times import (
    draw_time,
    grid_index,
    index_probabilities,
    log_normal_time,
    logit_normal_time,
    uniform_time,
)

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(0.5), Bell()]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)


@each_process
def test_uniform_time_fills_its_range_of_t_max(process):
    u = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    t = uniform_time(process, FixedDraws({"t": u}), 3, (0.1, 0.5))
    share = process.shifted(torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64))
    torch.testing.assert_close(t, process.t_max * share)


def test_the_shift_of_a_rectified_flow_warps_uniform_and_logit_normal_times():
    process = RectifiedFlow(shift=3.0)
    half = torch.tensor([0.5])
    # t' = s t / (1 + (s - 1) t) = 1.5 / 2
    assert uniform_time(process, FixedDraws({"t": half}), 1).item() == 0.75
    assert logit_normal_time(process, FixedDraws({"t": torch.zeros(1)}), 1).item() == 0.75
    assert log_normal_time(process, FixedDraws({"t": torch.zeros(1)}), 1, mean=0.0).item() == 0.5


def test_the_map_of_a_strangers_process_warps_them_as_well():
    # 3 sin(pi / 2 * u) at u = 1 / 3 and 1 / 2
    third, normal = torch.tensor([1 / 3]).double(), torch.zeros(1).double()
    assert uniform_time(Bell(), FixedDraws({"t": third}), 1).item() == pytest.approx(1.5)
    assert logit_normal_time(Bell(), FixedDraws({"t": normal}), 1).item() == pytest.approx(3 / math.sqrt(2))


def test_logit_normal_time_has_normal_logits():
    t = logit_normal_time(RectifiedFlow(), Rng(0), 20_000, mean=0.3, std=0.8)
    logits = torch.logit(t)
    assert float(logits.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(logits.std()) == pytest.approx(0.8, abs=0.02)


@each_process
def test_log_normal_time_has_normal_log_sigma_in_every_process(process):
    z = torch.tensor([-1.0, 0.0, 1.5], dtype=torch.float64)
    t = log_normal_time(process, FixedDraws({"t": z}), 3, mean=-1.2, std=1.1)
    torch.testing.assert_close(process.sigma_edm(t).log(), -1.2 + 1.1 * z)


def test_log_normal_time_stays_in_its_range():
    z = torch.tensor([-50.0, 50.0], dtype=torch.float64)
    t = log_normal_time(EDM(), FixedDraws({"t": z}), 2, t_range=(0.01, 0.5))
    torch.testing.assert_close(t, torch.tensor([0.8, 40.0], dtype=torch.float64))


@pytest.mark.parametrize("distribution", ["uniform", "logit_normal", "log_normal"])
def test_parts_of_a_batch_hold_the_times_of_the_whole(distribution):
    whole = draw_time(VP(), Rng(3, 7), 8, distribution)
    parts = [draw_time(VP(), Rng(3, 7, part=k, parts=4), 2, distribution) for k in range(4)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=0)
    assert ((whole > 0) & (whole <= 1)).all() and len(whole.unique()) == 8


def test_an_unknown_distribution_names_those_that_there_are():
    with pytest.raises(ValueError, match="unknown distribution of times 'beta'; allowed: uniform, logit"):
        draw_time(VP(), Rng(0), 1, "beta")


def test_index_probabilities_are_those_of_the_log_normal_between_the_nodes():
    # the paper's form (erf differences) against the normal distribution function
    process = EDM()
    grid = time_grid(process, 10, "karras")
    p = index_probabilities(process, grid, mean=-1.1, std=2.0)
    phi = torch.distributions.Normal(-1.1, 2.0).cdf
    upper, lower = grid[2].double().log(), grid[3].double().log()
    expected = (phi(upper) - phi(lower)) / phi(torch.tensor(80.0, dtype=torch.float64).log())
    assert float(p[2]) == pytest.approx(float(expected), rel=1e-6)
    assert float(p.sum()) == pytest.approx(1.0) and (p > 0).all()


def test_index_probabilities_take_an_infinite_noise_level():
    p = index_probabilities(RectifiedFlow(), time_grid(RectifiedFlow(), 4))
    above = 1 - torch.distributions.Normal(-1.1, 2.0).cdf(torch.tensor(math.log(3.0)))  # t = 3/4 is sigma/alpha = 3
    assert torch.isfinite(p).all()
    assert float(p[0]) == pytest.approx(float(above), rel=1e-5)


def test_grid_index_inverts_its_chances():
    chances = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    u = torch.tensor([0.0, 0.0999, 0.1, 0.6999, 0.7001, 0.99999], dtype=torch.float64)
    assert grid_index(FixedDraws({"t": u}), 6, chances).tolist() == [0, 0, 1, 1, 2, 2]
    drawn = grid_index(Rng(0), 30_000, chances)
    counts = torch.bincount(drawn, minlength=3) / 30_000
    torch.testing.assert_close(counts.double(), chances, rtol=0, atol=0.01)
