"""Samplers against closed-form flow maps, against each other, and against diffusers."""

import math

import pytest
import torch
from strange_process import Bell

from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianMixtureTeacher, GaussianTeacher
from limbeck_diffusion.samplers.gaussian import (
    DDIM,
    DPMSolverPP2M,
    EDMStochastic,
    Euler,
    Heun,
    Multistep,
    euler_step,
    heun_step,
    second_order_x0,
    x0_predictor,
)

PROCESSES = [RectifiedFlow(), RectifiedFlow(shift=3.0), VP(), VPCosine(), EDM(), TrigFlow(), TrigFlow(0.5), Bell()]
# a spacing that is regular near both ends of each process, so that the asymptotic order is already visible at 40 steps
SPACING = {VP: "karras", EDM: "karras"}
SAMPLERS = [(Euler, {}, 1), (DDIM, {}, 1), (Heun, {}, 2), (DPMSolverPP2M, {}, 2), (EDMStochastic, {"s_churn": 0.0}, 2)]

each_process = pytest.mark.parametrize(
    "process", PROCESSES, ids=lambda p: f"{type(p).__name__}{getattr(p, 'shift', '')}"
)
each_sampler = pytest.mark.parametrize("cls, options, order", SAMPLERS, ids=[c.__name__ for c, _, _ in SAMPLERS])


def made(cls, options, process, **more):
    multistep = cls in (DPMSolverPP2M, EDMStochastic)
    spacing = "log_snr" if multistep else SPACING.get(type(process), "uniform")
    return cls(**{"spacing": spacing, "sigma_min": 1e-4, **options, **more})


def start_of(sampler, process, noise, steps):
    """(state, time) at which the sampler's walk begins: edm_stochastic may begin below t_max."""
    t = sampler.grid(process, steps)[:1]
    return noise * (process.coefficients(t).sigma_t / process.prior_std), t.expand(len(noise))


def errors(sampler, teacher, noise, counts):
    found = []
    for steps in counts:
        x, t = start_of(sampler, teacher.process, noise, steps)
        exact = teacher.flow_map(x, t, torch.zeros_like(t))
        found.append(float((sampler(teacher, None, steps=steps, rng=Rng(0), noise=noise).value - exact).abs().max()))
    return found


@each_process
@each_sampler
def test_halving_the_step_divides_the_error_by_two_to_the_order(process, cls, options, order):
    teacher = GaussianTeacher(process, mean=torch.tensor([0.7, -0.4]), std=torch.tensor([0.6, 0.9]))
    noise = process.prior_std * Rng(0).normal("z", (8, 2), torch.float64)
    coarse, fine = errors(made(cls, options, process), teacher, noise, (64, 128))
    assert 0 < fine < 0.05
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@each_process
@each_sampler
def test_the_order_holds_on_a_curved_distribution_too(process, cls, options, order):
    # in one dimension the flow map of a mixture is known exactly, by quantiles
    teacher = GaussianMixtureTeacher(
        process, means=torch.tensor([[-1.0], [1.5]]), stds=0.5, weights=torch.tensor([0.4, 0.6])
    )
    noise = process.prior_std * torch.linspace(-1.5, 2.0, 9, dtype=torch.float64)[:, None]
    coarse, fine = errors(made(cls, options, process), teacher, noise, (100, 200))
    assert 0 < fine < 0.05
    # the path bends where the modes part: rates wander about the order before the limit
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.45)


@each_process
@each_sampler
def test_evaluations_are_what_is_promised(process, cls, options, order):
    teacher = GaussianTeacher(process, mean=0.3, std=0.5)
    calls = []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    for steps in (1, 2, 5):
        calls.clear()
        sampler = cls(**options)
        sample = sampler(teacher, None, steps=steps, rng=Rng(0), batch_size=3)
        assert len(calls) == sampler.evaluations(steps) == sample.evaluations
    assert Heun().evaluations(18) == 35


@each_process
@pytest.mark.parametrize("cls", [Euler, DDIM, Heun, DPMSolverPP2M], ids=lambda c: c.__name__)
def test_one_step_from_noise_is_the_prediction_at_t_max(process, cls):
    # t_max is where alpha_t may vanish: nothing may divide by it
    teacher = GaussianTeacher(process, mean=1.3, std=0.5)
    noise = process.prior_std * Rng(0).normal("z", (4, 1), torch.float64)
    t = torch.full((4,), process.t_max, dtype=torch.float64)
    value = cls()(teacher, None, steps=1, rng=Rng(0), noise=noise).value
    torch.testing.assert_close(value, teacher.x0_hat(noise, t), rtol=1e-12, atol=1e-12)


@each_process
@each_sampler
def test_states_begin_with_the_noise_and_end_with_the_sample(process, cls, options, order):
    teacher, sampler = GaussianTeacher(process, mean=0.3, std=0.5), cls(**options)
    noise = process.prior_std * Rng(0).normal("z", (3, 1))
    states = list(sampler.states(teacher, None, steps=4, rng=Rng(0), noise=noise))
    times = [t for _, t in states]
    assert times == sampler.grid(process, 4).tolist() and times[-1] == 0 and times == sorted(times, reverse=True)
    assert states[0][0] is noise
    sample = sampler(teacher, None, steps=4, rng=Rng(0), noise=noise)
    torch.testing.assert_close(states[-1][0], sample.value, rtol=0, atol=0)
    assert sample.t_to == 0 and sample.t_from == times[-2] and not sample.value.requires_grad


@pytest.mark.parametrize("process", [RectifiedFlow(), EDM()], ids=["RectifiedFlow", "EDM"])
def test_euler_is_ddim_where_the_path_is_straight_in_sigma(process):
    teacher = GaussianTeacher(process, mean=0.3, std=0.5)
    noise = process.prior_std * Rng(0).normal("z", (5, 1), torch.float64)
    a, b = (cls()(teacher, None, steps=7, rng=Rng(0), noise=noise).value for cls in (Euler, DDIM))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@each_process
def test_dpm_solver_of_order_one_is_ddim_and_of_order_two_is_not(process):
    teacher = GaussianTeacher(process, mean=0.3, std=0.5)
    noise = process.prior_std * Rng(0).normal("z", (5, 1), torch.float64)
    ddim, first, second = (
        sampler(teacher, None, steps=6, rng=Rng(0), noise=noise).value
        for sampler in (DDIM(), DPMSolverPP2M(order=1), DPMSolverPP2M())
    )
    torch.testing.assert_close(first, ddim, rtol=0, atol=0)
    assert (second - ddim).abs().max() > 1e-3


def test_second_order_prediction_is_linear_extrapolation_to_the_middle_of_the_step():
    # x0_hat = 3 + 2 lambda, known at lambda = 1 and before at 0.6; the next step ends at 1.5, its middle is 1.25
    a, b = torch.tensor(3 + 2 * 1.0), torch.tensor(3 + 2 * 0.6)
    torch.testing.assert_close(second_order_x0(a, b, 0.5, 0.4), torch.tensor(3 + 2 * 1.25))
    assert second_order_x0(a, b, 0.5, math.inf) == a


def test_without_churn_the_stochastic_sampler_is_heun_on_edm():
    teacher = GaussianTeacher(EDM(), mean=0.3, std=0.5)
    noise = 80 * Rng(0).normal("z", (5, 1), torch.float64)
    a, b = (s(teacher, None, steps=9, rng=Rng(0), noise=noise).value for s in (EDMStochastic(s_churn=0), Heun()))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@each_process
def test_churn_keeps_the_distribution_and_changes_the_sample(process):
    teacher = GaussianTeacher(process, mean=0.8, std=0.5)
    ways = [EDMStochastic(s_churn=c, s_noise=1.0, s_min=0.0, s_max=1e9) for c in (0.0, 20.0)]
    still, churned = (s(teacher, None, steps=80, rng=Rng(1), batch_size=20_000).value for s in ways)
    assert (still - churned).abs().mean() > 0.1
    # 20,000 samples: standard error of the mean 0.0035, of the deviation 0.0025; second-order bias 0.004 at 80 steps
    assert float(churned.mean()) == pytest.approx(0.8, abs=0.015)
    assert float(churned.std()) == pytest.approx(0.5, abs=0.015)


def test_churn_outside_its_range_of_noise_does_nothing():
    teacher = GaussianTeacher(EDM(), mean=0.8, std=0.5)
    still, outside = (
        EDMStochastic(s_churn=c, s_min=100, s_max=200)(teacher, None, steps=8, rng=Rng(1), batch_size=4).value
        for c in (0, 40)
    )
    torch.testing.assert_close(still, outside, rtol=0, atol=0)


@each_process
@each_sampler
def test_splitting_the_batch_changes_nothing(process, cls, options, order):
    teacher, sampler = GaussianTeacher(process, mean=0.3, std=0.5), cls()
    whole = sampler(teacher, None, steps=3, rng=Rng(5), batch_size=6).value
    parts = [sampler(teacher, None, steps=3, rng=Rng(5, part=k, parts=2), batch_size=3).value for k in range(2)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=0, atol=0)


@each_process
@each_sampler
def test_single_precision_follows_double(process, cls, options, order):
    teacher = GaussianTeacher(process, mean=0.3, std=0.5)
    noise = process.prior_std * Rng(0).normal("z", (16, 1))
    low, high = (cls(**options)(teacher, None, steps=50, rng=Rng(0), noise=n).value for n in (noise, noise.double()))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), high, rtol=0, atol=2e-5)


def test_guidance_samples_the_guided_distribution():
    # equal covariances: the guided teacher is the Gaussian at mean + g (class_mean - mean), here 0 + 2.5 (1 - 0)
    teacher = GaussianTeacher(VPCosine(), mean=0.0, std=0.5, class_means=torch.tensor([[1.0]]))
    cond = torch.zeros(4000, dtype=torch.long)
    value = Heun()(Guided(teacher, 2.5), cond, steps=20, rng=Rng(0)).value
    assert float(value.mean()) == pytest.approx(2.5, abs=0.05)


def test_a_row_that_lands_at_zero_may_share_a_step_with_one_that_does_not():
    teacher = GaussianTeacher(RectifiedFlow(), mean=0.3, std=0.5)
    x = Rng(0).normal("z", (2, 1), torch.float64)
    t, s = torch.tensor([0.4, 0.4], dtype=torch.float64), torch.tensor([0.0, 0.2], dtype=torch.float64)
    for step in (euler_step, heun_step):
        both = step(x0_predictor(teacher, None), teacher.process, x, t, s)
        alone = step(x0_predictor(teacher, None), teacher.process, x[1:], t[1:], s[1:])
        torch.testing.assert_close(both, torch.cat([teacher.x0_hat(x[:1], t[:1]), alone]))


# --- multistep -------------------------------------------------------------------------------------------------------


def test_two_consistency_steps_are_predict_noise_predict():
    process = RectifiedFlow()
    teacher = GaussianTeacher(process, mean=0.3, std=0.5)
    noise, again = Rng(0).normal("a", (5, 1), torch.float64), Rng(0).normal("b", (5, 1), torch.float64)
    value = Multistep(times=(1.0, 0.4))(teacher, None, steps=2, rng=FixedDraws({"renoise/0": again}), noise=noise).value
    one, middle = (torch.full((5,), t, dtype=torch.float64) for t in (1.0, 0.4))
    by_hand = teacher.x0_hat(0.6 * teacher.x0_hat(noise, one) + 0.4 * again, middle)
    torch.testing.assert_close(value, by_hand, rtol=1e-6, atol=1e-6)  # the rollout holds times in float32


def test_the_exact_consistency_function_samples_the_data_in_any_number_of_calls():
    teacher = GaussianTeacher(TrigFlow(0.5), mean=0.7, std=0.3)
    student = teacher.trainable_copy(predicts="flow_map")
    for steps in (1, 2, 4):
        sample = Multistep()(student, None, steps=steps, rng=Rng(0), batch_size=20_000)
        assert sample.evaluations == Multistep().evaluations(steps) == steps
        assert float(sample.value.mean()) == pytest.approx(0.7, abs=0.01)
        assert float(sample.value.std()) == pytest.approx(0.3, abs=0.01)


def test_times_that_do_not_fit_are_refused():
    teacher = GaussianTeacher(RectifiedFlow(), mean=0.3, std=0.5)
    with pytest.raises(ValueError, match=r"gives 2 calls, but steps is 3"):
        Multistep(times=(1.0, 0.5))(teacher, None, steps=3, rng=Rng(0), batch_size=2)
    with pytest.raises(ValueError, match=r"starts at 80, above t_max=1"):
        Multistep(times=(80.0,))(teacher, None, steps=1, rng=Rng(0), batch_size=2)
    with pytest.raises(ValueError, match="positive and fall strictly"):
        Multistep(times=(0.5, 1.0))
    with pytest.raises(ValueError, match="sigma_max must exceed sigma_min"):
        Heun(sigma_min=1.0, sigma_max=0.5)
    with pytest.raises(ValueError, match="needs batch_size="):
        Heun()(teacher, None, steps=1, rng=Rng(0))


# --- a second oracle -------------------------------------------------------------------------------------------------


class TestAgainstDiffusers:
    """The same teacher walked by diffusers' EDM schedulers (x / alpha_t, Karras sigmas, 0.002 to 80)."""

    def walk(self, scheduler, steps: int, noise: torch.Tensor, teacher) -> torch.Tensor:
        scheduler.set_timesteps(steps)
        x, sigma_data = noise.clone(), scheduler.config.sigma_data
        for i, t in enumerate(scheduler.timesteps):
            sigma = scheduler.sigmas[i].double()
            x0_hat = teacher.x0_hat(x, sigma.expand(len(x)))
            # the schedulers want F with x0_hat = c_skip x + c_out F
            c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
            c_out = sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()
            x = scheduler.step(((x0_hat - c_skip * x) / c_out), t, x).prev_sample
        return x

    @pytest.fixture
    def teacher(self):
        return GaussianTeacher(EDM(), mean=0.3, std=0.5)

    def compare(self, scheduler, ours, teacher):
        noise = 80 * Rng(0).normal("z", (6, 1), torch.float64)
        theirs = self.walk(scheduler, 12, noise, teacher)
        value = ours(teacher, None, steps=12, rng=Rng(0), noise=noise).value
        # diffusers keeps sigmas in float32
        torch.testing.assert_close(value, theirs.double(), rtol=0, atol=2e-4)

    def test_euler_agrees(self, teacher):
        diffusers = pytest.importorskip("diffusers", reason="the second oracle for samplers; pip install diffusers")
        scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)
        self.compare(scheduler, Euler(), teacher)

    def test_dpm_solver_agrees(self, teacher):
        diffusers = pytest.importorskip("diffusers", reason="the second oracle for samplers; pip install diffusers")
        scheduler = diffusers.EDMDPMSolverMultistepScheduler(
            sigma_min=0.002,
            sigma_max=80.0,
            sigma_data=0.5,
            solver_order=2,
            final_sigmas_type="zero",
            euler_at_final=True,
        )
        self.compare(scheduler, DPMSolverPP2M(), teacher)


@pytest.mark.gpu
@each_sampler
def test_samplers_follow_their_input_to_the_gpu(cls, options, order):
    teacher = GaussianTeacher(RectifiedFlow(), mean=0.3, std=0.5).to("cuda")
    noise = Rng(0).normal("z", (16, 1))
    value = cls(**options)(teacher, None, steps=5, rng=Rng(0, device="cuda"), noise=noise.cuda()).value
    expected = cls(**options)(teacher.cpu(), None, steps=5, rng=Rng(0), noise=noise).value
    torch.testing.assert_close(value.cpu(), expected, rtol=1e-5, atol=1e-5)
