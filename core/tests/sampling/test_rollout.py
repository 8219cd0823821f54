"""Rollouts: how often the generator is called, which call carries the gradient, with which noise."""

import pytest
import torch

import limbeck
from limbeck.interfaces import Prediction, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan, rollout
from limbeck.testing import FixedDraws, GaussianGenerator, GaussianPredictor, GaussianTeacher, TinyNetwork


class Recorder(Denoiser):
    """Notes every call: input, time and whether its output carries a gradient."""

    def __init__(self, process=None, two_times=False):
        torch.manual_seed(0)
        network = TinyNetwork((2,), width=16, two_times=two_times)
        super().__init__(network, process or RectifiedFlow(), Space((2,)), two_times=two_times)
        self.calls = []

    def forward(self, xt, t, cond=None, *, s=None, features=()) -> Prediction:
        out = super().forward(xt, t, cond, s=s, features=features)
        self.calls.append((xt.detach(), t, s, out.x0_hat.requires_grad))
        return out


PLAN = Plan((1.0, 0.75, 0.5, 0.25))


@pytest.mark.parametrize("transition", ["renoise", "ddim", "jump"])
def test_exactly_one_call_carries_the_gradient_by_default(transition):
    generator = Recorder(two_times=transition == "jump")
    sample = rollout(generator, None, plan=Plan(PLAN.times, transition), rng=limbeck.rng(0), batch_size=3)
    assert [call[3] for call in generator.calls] == [False, False, False, True]
    assert [float(call[1][0]) for call in generator.calls] == list(PLAN.times)
    assert sample.evaluations == 4 and sample.t_from == 0.25 and sample.t_to == 0.0 and sample.at is sample.value
    sample.value.square().sum().backward()
    assert all(p.grad is not None for p in generator.parameters())


def test_all_or_no_calls_carry_it_on_request():
    for grad, expected in (("all", [True] * 4), ("none", [False] * 4)):
        generator = Recorder()
        sample = rollout(generator, None, plan=PLAN, rng=limbeck.rng(0), batch_size=3, grad=grad)
        assert [call[3] for call in generator.calls] == expected
        assert sample.value.requires_grad == (grad == "all")


def test_the_policy_changes_gradients_and_not_values():
    values, grads = [], []
    for grad in ("last", "all"):
        generator = Recorder()
        sample = rollout(generator, None, plan=PLAN, rng=limbeck.rng(0), batch_size=3, grad=grad)
        sample.value.square().mean().backward()
        values.append(sample.value.detach())
        grads.append(generator.network.leave.bias.grad)
    assert torch.equal(*values)
    assert not torch.allclose(*grads, rtol=1e-3)


def test_a_random_exit_is_one_for_the_whole_batch_and_every_exit_happens():
    plan = Plan(PLAN.times, exit="random")
    exits = []
    for step in range(40):
        both = []
        for part in range(2):
            generator = Recorder()
            sample = rollout(generator, None, plan=plan, rng=Rng(0, step, part=part, parts=2), batch_size=2)
            assert [call[3] for call in generator.calls] == [False] * (sample.evaluations - 1) + [True]
            assert sample.t_from == PLAN.times[sample.evaluations - 1]
            both.append(sample.evaluations)
        assert both[0] == both[1]
        exits.append(both[0])
    assert set(exits) == {1, 2, 3, 4}


def test_a_random_exit_answers_what_the_full_run_passed_through():
    generator = Recorder()
    noise = {"noise": torch.randn(3, 2), **{f"renoise/{k}": torch.randn(3, 2) for k in range(3)}}
    early = rollout(
        generator, None, plan=Plan(PLAN.times, exit="random"), rng=FixedDraws({**noise, "exit": 1}), batch_size=3
    )
    whole = rollout(generator, None, plan=Plan(PLAN.times[:2]), rng=FixedDraws(noise), batch_size=3)
    assert torch.equal(early.value, whole.value) and early.evaluations == 2


@pytest.mark.parametrize("exit", ["last", "random"])
@pytest.mark.parametrize("transition", ["renoise", "ddim"])
def test_splitting_the_batch_changes_nothing(transition, exit):
    plan = Plan(PLAN.times, transition, exit)
    generator = Recorder()
    whole = rollout(generator, None, plan=plan, rng=Rng(3, 5), batch_size=6).value
    parts = [rollout(generator, None, plan=plan, rng=Rng(3, 5, part=k, parts=3), batch_size=2).value for k in range(3)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("process", [RectifiedFlow(), VP(), EDM(), TrigFlow(0.5)], ids=repr)
def test_renoising_uses_the_noise_level_of_the_next_call(process):
    # a generator that always predicts x0: the state of call k + 1 is alpha x0 + sigma eps_k
    x0 = torch.tensor([1.5, -0.5], dtype=torch.float64)
    generator = GaussianGenerator(process, x0, torch.zeros(2))
    seen = []
    generator.register_forward_hook(lambda module, args, out: seen.append((args[0].detach(), args[1])))
    times = tuple(process.t_max * f for f in (1.0, 0.6, 0.2))
    draws = {
        "noise": torch.randn(4, 2).double(),
        "renoise/0": torch.randn(4, 2).double(),
        "renoise/1": torch.randn(4, 2).double(),
    }
    rollout(generator, None, plan=Plan(times), rng=FixedDraws(draws), batch_size=4)
    torch.testing.assert_close(seen[0][0], process.prior_std * draws["noise"])
    for k in (1, 2):
        assert seen[k][1].dtype == torch.float64  # time is as fine as the state
        t = torch.full((4,), times[k], dtype=torch.float64)
        expected = process.add_noise(x0.expand(4, 2), draws[f"renoise/{k - 1}"], t)
        torch.testing.assert_close(seen[k][0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("process", [RectifiedFlow(), EDM(sigma_max=20.0), TrigFlow()], ids=repr)
def test_deterministic_transitions_follow_the_exact_trajectory_of_an_exact_generator(process):
    # the flow map of a Gaussian, jumped along: semigroup, so any number of calls ends at the same place
    teacher = GaussianTeacher(process, torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.5]))
    student: GaussianPredictor = teacher.trainable_copy(predicts="flow_map")
    noise = process.prior_std * torch.randn(5, 2, dtype=torch.float64)
    times = tuple(process.t_max * f for f in (1.0, 0.7, 0.3))
    exact = teacher.consistency(noise, torch.full((5,), process.t_max, dtype=torch.float64))
    for plan in (Plan(times[:1]), Plan(times, "jump"), Plan(times[:2], "jump")):
        got = rollout(student, None, plan=plan, rng=limbeck.rng(0), noise=noise).value
        torch.testing.assert_close(got, exact, rtol=1e-9, atol=1e-9)
    # DDIM with the posterior mean is a first-order solver: halving the steps' length halves the error
    errors = []
    for steps in (40, 80, 160):
        plan = Plan.uniform(process, steps, transition="ddim")
        got = rollout(teacher, None, plan=plan, rng=limbeck.rng(0), noise=noise, grad="none").value
        errors.append(float((got - exact).abs().max()))
    assert 1.6 < errors[0] / errors[1] < 2.5 and 1.7 < errors[1] / errors[2] < 2.3, errors


def test_uniform_plans_are_even_and_shifted():
    assert Plan.uniform(RectifiedFlow(), 4).times == (1.0, 0.75, 0.5, 0.25)
    assert Plan.uniform(RectifiedFlow(shift=3.0), 4).times == pytest.approx((1.0, 0.9, 0.75, 0.5))
    assert Plan.uniform(EDM(sigma_max=8.0), 2, transition="ddim") == Plan((8.0, 4.0), "ddim")


def test_the_prior_is_as_wide_as_the_process():
    noise = EDM().prior_sample((4000, 2), limbeck.rng(0))
    assert float(noise.std()) == pytest.approx(80, rel=0.03)
    assert torch.equal(noise, 80 * limbeck.rng(0).normal("noise", (4000, 2)))


def test_conditions_reach_every_call_and_say_how_many_rows():
    generator = GaussianGenerator(
        RectifiedFlow(), torch.zeros(2), 0.0, class_means=torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    )
    value = rollout(generator, torch.tensor([1, 0, 1]), plan=Plan((1.0, 0.5)), rng=limbeck.rng(0)).value
    assert value.detach()[:, 0].tolist() == [5.0, 1.0, 5.0]


def test_plans_that_do_not_fall_are_refused():
    for times in ((), (0.5, 1.0), (1.0, 0.5, 0.5)):
        with pytest.raises(ValueError, match="must fall strictly, from noise to data"):
            Plan(times)


def test_a_rollout_that_cannot_start_says_what_is_missing():
    with pytest.raises(ValueError, match="batch_size"):
        rollout(Recorder(), None, plan=PLAN, rng=limbeck.rng(0))
    with pytest.raises(TypeError, match="Sequential"):
        rollout(torch.nn.Sequential(), None, plan=PLAN, rng=limbeck.rng(0), batch_size=2)
