"""A stranger's process is asked what it prefers wherever one of Limbeck's own would be: grids, plans, clips, training.

That every sampler has its order and its number of calls on it is in `test_samplers`, that every distribution of t has
its moments in `formulas/test_times`.
"""

import pytest
import torch
from strange_process import Bell

import limbeck
from limbeck.interfaces import Batch, Phase
from limbeck.process.gaussian import VP
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan
from limbeck.testing import AR1, GaussianTeacher
from limbeck_diffusion.objectives.trajectory.consistency import Consistency
from limbeck_diffusion.samplers.gaussian import DDIM, Euler, Multistep, angle, chart_of
from limbeck_diffusion.samplers.streaming import DiffusionForcingSampler, Streaming, chunk_plan

BELL = Bell()


def test_a_sampler_spaces_its_grid_as_the_process_prefers():
    expected = time_grid(BELL, 6, "log_snr", sigma_range=(0.01, 50.0))
    torch.testing.assert_close(DDIM(sigma_min=0.01, sigma_max=50.0).grid(BELL, 6), expected)
    torch.testing.assert_close(time_grid(BELL, 6, "log_snr"), expected)  # its own range of noise levels
    assert not torch.allclose(DDIM(spacing="uniform").grid(BELL, 6), expected)


def test_solvers_go_straight_in_the_chart_of_the_process():
    assert chart_of(BELL, None) is angle and chart_of(BELL, "native") is not angle
    teacher = GaussianTeacher(BELL, mean=0.4, std=0.7)
    noise = BELL.prior_std * Rng(0).normal("noise", (4, 2), torch.float64)
    by_default, in_angle = (
        Euler(chart=chart)(teacher, None, steps=4, rng=Rng(0), noise=noise).value for chart in (None, "angle")
    )
    assert torch.equal(by_default, in_angle)


def test_plans_are_shifted_by_the_process():
    # 3 sin(pi / 2 * (1, 2/3, 1/3))
    assert Plan.uniform(BELL, 3).times == pytest.approx((3.0, 3 * 0.75**0.5, 1.5))
    teacher = GaussianTeacher(BELL, mean=0.4, std=0.7)
    sample = Multistep()(teacher, None, steps=3, rng=Rng(0), batch_size=5)
    assert sample.t_from == pytest.approx(1.5) and bool(torch.isfinite(sample.value).all())


def test_another_shift_is_asked_of_the_process():
    options = Streaming(shift=2.0).options
    with pytest.raises(ValueError, match=r"shift spaces the times of a rectified flow, and this is Bell\(\)"):
        chunk_plan(options, BELL, 4)
    assert chunk_plan(options, limbeck.RectifiedFlow(), 2).times == pytest.approx((1.0, 2 / 3))


def test_clips_are_sampled_on_its_grid():
    model = AR1(BELL, (4, 2), correlation=0.8).freeze()
    noise = BELL.prior_std * Rng(0).normal("noise", (3, 4, 2), torch.float64)
    whole = DiffusionForcingSampler(uncertainty=0)(model, None, steps=5, rng=Rng(0), noise=noise)
    expected = DDIM(sigma_min=0.01, sigma_max=50.0)(model, None, steps=5, rng=Rng(0), noise=noise)
    torch.testing.assert_close(whole.value, expected.value, rtol=1e-6, atol=1e-7)
    streams = AR1(BELL, (6, 1), correlation=0.8, causal=True, chunk=2).freeze()
    assert Streaming()(streams, None, steps=2, rng=Rng(0), batch_size=3).value.shape == (3, 6, 1)


@pytest.mark.parametrize("mode", ["distillation", "training"])
def test_consistency_trains_between_neighbours_of_its_grid(mode):
    teacher = GaussianTeacher(BELL, mean=0.4, std=0.7)
    objective = Consistency(mode=mode, times={"nodes": 64})
    objective.setup(teacher.trainable_copy(predicts="flow_map"), teacher)
    torch.testing.assert_close(objective.neighbours.grid, time_grid(BELL, 64, "log_snr", sigma_range=(0.01, 50.0)))
    loss = objective.loss(Phase("generator", ("generator",)), Batch(x0=teacher.sample(64, Rng(0))), Rng(0))
    assert 0 <= float(loss.value.detach()) < (1e-4 if mode == "distillation" else 1)


def test_limbecks_own_processes_prefer_what_they_did():
    assert VP().native_chart == "angle" and VP().spacing == "uniform"
    assert limbeck.EDM(sigma_min=0.01, sigma_max=20.0).sigma_range == (0.01, 20.0)
    assert limbeck.EDM().spacing == "karras" and limbeck.EDM().native_chart == "native"
    share = torch.linspace(0, 1, 5)
    for process in (VP(), limbeck.EDM(), limbeck.TrigFlow(), limbeck.RectifiedFlow()):
        assert torch.equal(process.shifted(share), share)
