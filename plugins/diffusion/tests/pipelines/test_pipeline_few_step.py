"""The schedulers that exports are given make the same calls as our samplers, and give the same samples."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.process.gaussian import RectifiedFlow, VPCosine
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan
from limbeck_diffusion.pipelines.few_step import few_step, plan_of
from limbeck_diffusion.pipelines.schedule import Schedule, VPTable, schedule_of
from limbeck_diffusion.samplers.gaussian import DDIM, Euler, Heun, Multistep


def table(prediction="epsilon"):
    from diffusers import DDIMScheduler

    own = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction)
    return schedule_of(own, 1), own


def cosine():
    from diffusers import CosineDPMSolverMultistepScheduler

    return Schedule(VPCosine(), "v", 1), CosineDPMSolverMultistepScheduler()


class Toy(Predictor):
    """A network of the time: out = 0.3 x + 0.2 sin(2 time) - 0.1, as the schedule's prediction."""

    space = Space((3, 4))

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.process = schedule, schedule.process
        self.weight = nn.Parameter(torch.tensor(0.3))

    def network(self, x, timestep):
        time = (timestep / self.schedule.steps).float().reshape(-1, *[1] * (x.ndim - 1))
        return self.weight * x + 0.2 * torch.sin(2 * time) - 0.1

    def forward(self, xt, t, cond=None, *, s=None, features=()):
        out = self.network(xt, self.schedule.timestep(t))
        return Prediction(x0_hat=self.process.convert(out, self.schedule.kind, "x0", xt, t))


class Given(Rng):
    def __init__(self, noise):
        super().__init__(0)
        self.noise = noise

    def normal(self, purpose, shape, dtype=torch.float32):
        return self.noise[int(purpose.rpartition("/")[2])]


def as_a_pipeline(scheduler, toy, noise, between, **arguments):
    """The loop of a pipeline's call."""
    scheduler.set_timesteps(**arguments)
    if hasattr(scheduler, "noise_sampler"):  # in the place of its Brownian tree
        scheduler.noise_sampler = lambda *levels: between[0] if between else torch.zeros_like(noise)
    x = noise * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else noise
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(toy.network(given, t.expand(len(x))), t, x, return_dict=False)[0]
    return x


FLOW = [(RectifiedFlow(shift=s), own) for s in (1.0, 1.5, 3.0, 5.0) for own in (False, True)]


@pytest.mark.parametrize("transition", ["renoise", "ddim"])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("process", "own_sigmas"), FLOW, ids=str)
def test_flow_students_are_sampled_alike(process, own_sigmas, steps, transition):
    schedule = Schedule(process, "velocity", 1000)
    check(schedule, None, Multistep(transition=transition), steps, own_sigmas=own_sigmas)


@pytest.mark.parametrize("transition", ["renoise", "ddim"])
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_students_on_a_table_are_sampled_alike(prediction, steps, transition):
    check(*table(prediction), Multistep(transition=transition), steps)


@pytest.mark.parametrize("steps", [1, 2])
def test_students_on_the_cosine_path_are_sampled_alike(steps):
    check(*cosine(), Multistep(), steps)


def test_samplers_without_noise_between_are_walks_too():
    check(Schedule(RectifiedFlow(shift=3.0), "velocity", 1000), None, Euler(), 6)
    check(*table("v_prediction"), DDIM(), 10)


def check(schedule, own, sampler, steps, own_sigmas=False):
    torch.manual_seed(7)
    toy, noise = Toy(schedule), torch.randn(2, 3, 4)
    between = [torch.randn(2, 3, 4) for _ in range(steps - 1)]
    plan = plan_of(sampler, schedule.process, steps)
    with torch.no_grad():
        ours = sampler(toy, None, steps=steps, rng=Given(between), noise=noise).value
        found = few_step(schedule, own, plan, {"sigmas": 1} if own_sigmas else {}, own_sigmas=own_sigmas)
        torch.manual_seed(7)
        torch.randn(2, 3, 4), toy  # what came before the noise between the calls
        arguments = dict(found.arguments)
        if own_sigmas and "sigmas" not in arguments:
            arguments = {"sigmas": torch.linspace(1, 1 / steps, steps).tolist()}
        theirs = as_a_pipeline(found.scheduler, toy, noise, between, **arguments)
    assert float(ours.abs().max()) > 0.1
    torch.testing.assert_close(theirs, ours, rtol=2e-5, atol=2e-5)


def test_the_stretch_of_a_grid_is_exact():
    """Four steps with shift 3 are called at 1, 9/10, 3/4, 1/2, though the scheduler itself spaces from 1 to 1/1000."""
    schedule = Schedule(RectifiedFlow(shift=3.0), "velocity", 1000)
    scheduler = few_step(schedule, None, plan_of(Multistep(), schedule.process, 4), {}).scheduler
    scheduler.set_timesteps(4)
    assert scheduler.sigmas.tolist() == pytest.approx([1, 0.9, 0.75, 0.5, 0], abs=1e-6)
    assert scheduler.timesteps.tolist() == pytest.approx([1000, 900, 750, 500], abs=1e-3)


def test_times_of_ones_own_are_found_where_there_is_a_way():
    schedule = Schedule(RectifiedFlow(), "velocity", 1000)
    three = few_step(schedule, None, Plan((1.0, 0.7, 0.2), "renoise"), {})
    three.scheduler.set_timesteps(3)
    assert three.scheduler.sigmas.tolist() == pytest.approx([1, 0.7, 0.2, 0], abs=1e-6)
    four = Plan((1.0, 0.7, 0.65, 0.1), "renoise")
    assert few_step(schedule, None, four, {"sigmas": 1}).arguments["sigmas"] == [1.0, 0.7, 0.65, 0.1]
    with pytest.raises(LimbeckError, match="takes no sigmas. Leave sampling.times out"):
        few_step(schedule, None, four, {})
    found = few_step(*table(), Plan((1.0, 0.666, 0.333), "renoise"), {"timesteps": 1})
    assert found.arguments == {"timesteps": [999, 665, 332]}
    with pytest.raises(LimbeckError, match="cannot be set to the timesteps 999, 665, 332, and this pipeline's"):
        few_step(*table(), Plan((1.0, 0.666, 0.333), "renoise"), {})


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan((0.9, 0.5), "renoise"), "first call is at t = 0.9, but pipelines start from pure noise"),
        (
            Plan((1.0, 2 / 3, 1 / 3), "renoise"),
            r"timesteps 999, 665.667, 332.333.*sampling.times: \[1.0, 0.667, 0.333\]",
        ),
    ],
)
def test_what_no_scheduler_does_is_said_with_the_way_out(plan, said):
    with pytest.raises(LimbeckError, match=said):
        few_step(*table(), plan, {"timesteps": 1})


def test_other_samplers_and_longer_cosine_walks_are_refused():
    with pytest.raises(LimbeckError, match="sampled by heun, and no scheduler .* multistep or ddim"):
        plan_of(Heun(), RectifiedFlow(), 4)
    with pytest.raises(LimbeckError, match="sampled by euler"):
        plan_of(Euler(), table()[0].process, 4)
    schedule, own = cosine()
    with pytest.raises(LimbeckError, match="one call, or of two .* this one has 4 with renoise"):
        few_step(schedule, own, plan_of(Multistep(), schedule.process, 4), {})


def test_a_scheduler_whose_noise_levels_are_not_in_its_configuration_is_refused():
    schedule, own = table()
    levels = own.alphas_cumprod * 0.999
    changed = SimpleNamespace(config=own.config, alphas_cumprod=levels)
    schedule = Schedule(VPTable(tuple(levels.double().tolist())), "eps", 1000)
    with pytest.raises(LimbeckError, match="does not have the noise levels"):
        few_step(schedule, changed, Plan(tuple(time_grid(schedule.process, 4)[:-1].tolist()), "renoise"), {})
    assert math.isclose(schedule.process.t_max, 1.0)
