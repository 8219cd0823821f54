"""DMD2 against closed forms: fixture 1 of the Gaussian oracle suite, who learns, and whole runs on Gaussians."""

import copy
import math

import pytest
import torch
from torch import nn

from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.randomness import Rng
from limbeck.testing import FixedDraws, GaussianMixtureTeacher, GaussianTeacher, gauss_hermite_batch
from limbeck.testing.gaussian import GaussianGenerator
from limbeck_diffusion.objectives.matching.score_difference import ScoreDifference

GENERATOR = Phase("generator", ("generator",))
CRITIC = Phase("critic", ("critic",))


def gaussian_pair(process, mean, factor, teacher_mean, teacher_std, **options):
    """DMD2 between 1-D Gaussians, in float64, with a critic that knows the student's distribution exactly."""
    teacher = GaussianTeacher(process, teacher_mean, teacher_std)
    generator = GaussianGenerator(process, mean, factor)
    objective = ScoreDifference(**options)
    objective.setup(generator, teacher)
    objective.roles()["critic"].predictor.load_state_dict(generator.denoiser().state_dict())
    return objective, generator, teacher


def at_one_time(process, t: float, nodes: int = 64):
    """All draws of a generator turn at time t as a weighted quadrature batch."""
    z, weight = gauss_hermite_batch(nodes, 2)
    u = torch.full((len(z),), t / process.t_max, dtype=torch.float64)
    return FixedDraws({"noise": z[:, :1], "eps": z[:, 1:], "t": u}), Batch(
        weight=weight, cond=None, noise=None, x0=z[:, :1]
    )


def generator_gradient(objective, generator, rng, batch):
    objective.focus(GENERATOR)
    objective.zero_grad()
    objective.loss(GENERATOR, batch, rng).backward()
    return generator.means.grad[-1].item(), generator.factor.grad.item()


# --- the field ---


def test_fixture_1_comes_out_of_the_objective():
    # alpha = 0.8 and sigma = 0.9 lie on the trigonometric path with sigma_data = 1.5.
    # Student N(0.7, 0.6^2), teacher N(-0.4, 1.3^2): x0-space injected field, E[(D_q - D_p) dx/d(mu, A)].
    process = TrigFlow(1.5)
    t = math.acos(0.8)
    c = process.coefficients(torch.tensor(t, dtype=torch.float64))
    assert (c.alpha_t.item(), c.sigma_t.item()) == (pytest.approx(0.8), pytest.approx(0.9))
    objective, generator, _ = gaussian_pair(
        process, 0.7, 0.6, -0.4, 1.3, field={"normalise": None}, times={"range": (0.0, 1.0)}
    )
    gradient = generator_gradient(objective, generator, *at_one_time(process, t))
    assert gradient == pytest.approx((0.4710298160, -0.2102026735), abs=1e-7)


@pytest.mark.parametrize("process", [RectifiedFlow(), VP(), EDM(), TrigFlow(0.5)], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_field_is_the_gradient_of_the_kl_divergence_in_every_process(process, fraction):
    # (sigma^2 / alpha^2) d KL(q_t || p_t): alpha (1/C_p) d for the mean, alpha^2 (1/C_p - 1/C_q) A for the factor
    fraction = fraction / 40 if isinstance(process, EDM) else fraction
    mean, factor, teacher_mean, teacher_std = 0.7, 0.6, -0.4, 1.3
    t = fraction * process.t_max
    a, s = (float(v) for v in process.coefficients(torch.tensor(t, dtype=torch.float64))[:2])
    c_p, c_q = a**2 * teacher_std**2 + s**2, a**2 * factor**2 + s**2
    d = a * (mean - teacher_mean)
    expected = (s / a) ** 2 * a * d / c_p, (s / a) ** 2 * a**2 * (1 / c_p - 1 / c_q) * factor
    objective, generator, _ = gaussian_pair(
        process, mean, factor, teacher_mean, teacher_std, field={"normalise": None}, times={"range": (0.0, 1.0)}
    )
    gradient = generator_gradient(objective, generator, *at_one_time(process, t))
    assert abs(expected[0]) > 1e-4 and abs(expected[1]) > 1e-5
    assert gradient == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("normalise", ["sample", None])
def test_the_teachers_own_law_is_a_fixed_point_for_every_sample(normalise):
    objective, generator, _ = gaussian_pair(RectifiedFlow(), -0.4, 1.3, -0.4, 1.3, field={"normalise": normalise})
    rng, batch = at_one_time(RectifiedFlow(), 0.5, nodes=8)
    loss = objective.loss(GENERATOR, batch, rng)
    assert loss.terms["field"].item() < 1e-12
    assert generator_gradient(objective, generator, rng, batch) == pytest.approx((0.0, 0.0), abs=1e-10)


def test_a_lagging_critic_is_used_as_it_is():
    # with critic distribution q' the field is that of q', not of the student: mean gradient alpha^... (D_q' - D_p)
    process = RectifiedFlow()
    objective, generator, _ = gaussian_pair(
        process, 0.7, 0.6, -0.4, 1.3, field={"normalise": None}, times={"range": (0.0, 1.0)}
    )
    exact = generator_gradient(objective, generator, *at_one_time(process, 0.5))
    with torch.no_grad():
        objective.roles()["critic"].predictor.means += 1.0
    lagging = generator_gradient(objective, generator, *at_one_time(process, 0.5))
    # D_q' - D_q = (1 - alpha^2 A^2 / C_q) for a critic whose mean is off by 1
    shift = 1 - 0.25 * 0.36 / (0.25 * 0.36 + 0.25)
    assert lagging[0] - exact[0] == pytest.approx(shift, rel=1e-7)


def test_normaliser_divides_each_sample_by_its_distance_from_the_teachers_prediction():
    process = RectifiedFlow()
    objective, generator, teacher = gaussian_pair(process, 0.7, 0.6, -0.4, 1.3, times={"range": (0.0, 1.0)})
    plain, _, _ = gaussian_pair(process, 0.7, 0.6, -0.4, 1.3, field={"normalise": None}, times={"range": (0.0, 1.0)})
    z, eps = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-0.8]], dtype=torch.float64)
    rng = FixedDraws({"noise": z, "eps": eps, "t": torch.tensor([0.5], dtype=torch.float64)})
    x0 = 0.7 + 0.6 * 0.3
    real = teacher.x0_hat(torch.tensor([[0.5 * x0 - 0.4]], dtype=torch.float64), torch.tensor([0.5])).item()
    ratio = (
        plain.loss(GENERATOR, Batch(x0=z), rng).terms["field"]
        / objective.loss(GENERATOR, Batch(x0=z), rng).terms["field"]
    )
    assert ratio.item() == pytest.approx(abs(x0 - real), rel=1e-5)


def test_guidance_moves_the_target_by_the_closed_form():
    # all classes share a covariance, so the guided teacher is exactly a Gaussian with a shifted mean
    process = RectifiedFlow()
    means = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    teacher = GaussianTeacher(process, 0.2, 0.7, class_means=means)
    generator = GaussianGenerator(process, 0.2, 0.5, class_means=means)
    found = []
    for real in (Guided(teacher, 2.5), teacher.guided(2.5), teacher):
        objective = ScoreDifference(field={"normalise": None}, times={"range": (0.0, 1.0)})
        objective.setup(generator, real)
        objective.roles()["critic"].predictor.load_state_dict(generator.denoiser().state_dict())
        rng, batch = at_one_time(process, 0.4)
        ones = Batch(x0=batch.x0, weight=batch.weight, cond=torch.zeros(len(batch), dtype=torch.int64))
        objective.focus(GENERATOR)
        objective.zero_grad()
        objective.loss(GENERATOR, ones, rng).backward()
        found.append(generator.means.grad[0].item())
    # D_q - D_p has mean (m_q - m_p) sigma^2 / C_p, with m_q = 1, the guided mean 0.2 + 2.5 (1 - 0.2) = 2.2, C_p at 0.7
    expected = (1 - 2.2) * 0.16 / (0.36 * 0.49 + 0.16)
    assert found[:2] == pytest.approx([expected, expected], rel=1e-7)
    assert found[2] == pytest.approx(0.0, abs=1e-9)  # unguided, the means agree


# --- the critic ---


def test_critic_loss_has_its_minimum_at_the_students_law():
    # the irreducible part is the posterior variance: A^2 sigma^2 / (alpha^2 A^2 + sigma^2) in x0
    process = RectifiedFlow()
    objective, *_ = gaussian_pair(
        process, 0.7, 0.6, -0.4, 1.3, critic={"loss": "x0", "times": {"range": (0.0, 1.0)}}, field={"normalise": None}
    )
    rng, batch = at_one_time(process, 0.5)
    objective.focus(CRITIC)
    objective.zero_grad()
    loss = objective.loss(CRITIC, batch, rng)
    loss.backward()
    assert loss.value.item() == pytest.approx(0.36 * 0.25 / (0.25 * 0.36 + 0.25), rel=1e-9)
    predictor = objective.roles()["critic"].predictor
    assert predictor.means.grad.abs().max().item() == pytest.approx(0.0, abs=1e-10)
    with torch.no_grad():
        predictor.means += 0.5
    assert objective.loss(CRITIC, batch, rng).value > loss.value + 0.01


@pytest.mark.parametrize("kind", ["x0", "eps", "v", "velocity", "edm"])
def test_every_critic_loss_space_has_the_same_optimum(kind):
    process = RectifiedFlow()
    objective, *_ = gaussian_pair(process, 0.7, 0.6, -0.4, 1.3, critic={"loss": kind, "times": {"range": (0.0, 1.0)}})
    rng, batch = at_one_time(process, 0.3)
    objective.focus(CRITIC)
    objective.zero_grad()
    objective.loss(CRITIC, batch, rng).backward()
    predictor = objective.roles()["critic"].predictor
    assert max(p.grad.abs().max().item() for p in (predictor.means, predictor.factor)) < 1e-9


# --- who learns, how often ---


class Toy(nn.Module):
    """Residual perceptron on (B, 2), with hidden features as (B, C, 1) maps."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.into, self.out = nn.Linear(2 + 9, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(3))

    def forward(self, x, time, cond=None, features=()):
        angles = time[:, None] * torch.tensor([1.0, 2.0, 4.0, 8.0]) * math.pi
        h = self.into(torch.cat([x, time[:, None], angles.sin(), angles.cos()], 1))
        hidden = []
        for block in self.blocks:
            h = h + block(h)
            hidden.append(h[:, :, None])
        return (self.out(h), [hidden[k] for k in features]) if features else self.out(h)


def toy(seed: int = 0) -> Denoiser:
    torch.manual_seed(seed)
    return Denoiser(Toy(), RectifiedFlow(), Space((2,)), sigma_data=1.0)


def rows(count: int, x0=None) -> Batch:
    return Batch(noise=torch.randn(count, 2, generator=torch.Generator().manual_seed(5)), x0=x0)


@pytest.mark.parametrize("gan", [0.0, 0.1])
def test_gradients_reach_only_the_player_whose_turn_it_is(gan):
    teacher = toy(1)
    objective = ScoreDifference(discriminator={"weight": gan, "features": (1, 2)})
    objective.setup(toy(0), teacher.freeze())
    batch = rows(8, torch.randn(8, 2))
    for phase in (CRITIC, GENERATOR):
        objective.focus(phase)
        objective.zero_grad()
        objective.loss(phase, batch, Rng(0, 0, phase)).backward()
        for name, module in objective.roles().items():
            grads = [p.grad for p in module.parameters() if p.grad is not None]
            assert bool(grads) == (name in phase.roles), (phase.name, name)
            assert all(torch.isfinite(g).all() for g in grads)
        assert all(p.grad is None for p in teacher.parameters())


def test_without_a_discriminator_the_generator_turn_saves_nothing_for_teacher_and_critic():
    def saved(evaluations_with_grad):
        seen: dict[int, int] = {}

        def pack(x):
            seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            kept = evaluations_with_grad()
        return sum(seen.values()), kept

    objective = ScoreDifference()
    generator = toy(0)
    objective.setup(generator, toy(1).freeze())
    objective.focus(GENERATOR)
    batch = rows(256)
    whole, _ = saved(lambda: objective.loss(GENERATOR, batch, Rng(0, 0, GENERATOR)))
    alone, _ = saved(lambda: generator(batch.noise, torch.ones(256)).x0_hat.square().mean())
    assert alone > 100_000
    assert whole < 1.1 * alone  # one network's activations, and a few tensors of the size of a sample


def test_the_two_time_scales_are_as_configured():
    objective = ScoreDifference(critic={"updates": 3})
    assert [p.name for p in objective.phases(0)] == ["critic"] * 3 + ["generator"]
    assert [p.repeat for p in objective.phases(7)][:3] == [0, 1, 2]
    assert len(ScoreDifference().phases(0)) == 6  # k critic turns and one of the generator, not k - 1


def test_backward_simulation_calls_the_student_on_its_own_rollout_with_one_call_carrying_gradient():
    calls = []
    generator = toy(0)
    generator.register_forward_hook(
        lambda module, args, out: calls.append((args[1][0].item(), torch.is_grad_enabled()))
    )
    objective = ScoreDifference(rollout={"steps": 4})
    objective.setup(generator, toy(1).freeze())
    exits = set()
    for step in range(40):
        calls.clear()
        objective.loss(GENERATOR, rows(4), Rng(0, step, GENERATOR))
        assert [t for t, _ in calls] == [1.0, 0.75, 0.5, 0.25][: len(calls)]
        assert [grad for _, grad in calls] == [False] * (len(calls) - 1) + [True]
        exits.add(len(calls))
    assert exits == {1, 2, 3, 4}
    assert objective.sampling() == {"use": "multistep", "steps": 4}


def test_exit_last_judges_only_what_is_sampled_in_the_end():
    calls = []
    generator = toy(0)
    generator.register_forward_hook(lambda module, args, out: calls.append(torch.is_grad_enabled()))
    objective = ScoreDifference(rollout={"steps": 3, "exit": "last"})
    objective.setup(generator, toy(1).freeze())
    for step in range(5):
        calls.clear()
        objective.loss(GENERATOR, rows(4), Rng(0, step, GENERATOR))
        assert calls == [False, False, True]


def test_gradient_all_flows_through_the_earlier_calls_too():
    # The student's mean m moves its sample m + k (x - m / 2), k = 2 v / (v + 1), x = m / 2 + eps / 2: by 1 - k / 2
    # through the call at t = 1/2, by 1 with the call at t = 1, which answers m. The field is the same.
    found = {}
    for calls in ("last", "all"):
        student = GaussianTeacher(RectifiedFlow(), mean=0.7, std=0.6).trainable_copy()
        objective = ScoreDifference(rollout={"steps": 2, "exit": "last", "gradient": calls}, field={"normalise": None})
        objective.setup(student, GaussianTeacher(RectifiedFlow(), mean=-0.4, std=1.3))
        objective.roles()["critic"].predictor.load_state_dict(student.state_dict())
        objective.loss(GENERATOR, Batch(noise=torch.tensor([[0.9]], dtype=torch.float64)), Rng(0)).backward()
        found[calls] = student.means.grad[-1].item()
    k = 2 * 0.36 / 1.36
    assert abs(found["all"]) > 0.01
    assert found["last"] == pytest.approx((1 - k / 2) * found["all"], rel=1e-9)


def test_a_discriminator_without_real_data_is_refused():
    objective = ScoreDifference(discriminator={"weight": 0.1, "features": (1,)})
    objective.setup(toy(0), toy(1).freeze())
    assert objective.default_source == "data" and ScoreDifference().default_source == "prior"
    with pytest.raises(ValueError, match="source"):
        objective.loss(CRITIC, rows(4), Rng(0, 0, CRITIC))


def test_a_missing_teacher_and_a_bare_network_are_refused_with_the_hint():
    with pytest.raises(ValueError, match="`teacher:`"):
        ScoreDifference().setup(toy(0), None)
    with pytest.raises(TypeError, match=r"limbeck\.Denoiser"):
        ScoreDifference().setup(Toy(), toy(1).freeze())


def test_a_generator_on_another_process_is_refused():
    generator = Denoiser(Toy(), TrigFlow(), Space((2,)))
    with pytest.raises(ValueError, match="init: teacher"):
        ScoreDifference().setup(generator, toy(1).freeze())


def test_the_adversarial_gradient_is_the_softened_kl_when_the_discriminator_is_right():
    # fixture 1, NS-GAN row: a head whose logit is log p_t - log q_t gives the gradient of the softened reverse KL
    process = TrigFlow(1.5)
    objective, generator, teacher = gaussian_pair(
        process, 0.7, 0.6, -0.4, 1.3, field={"normalise": None}, times={"range": (0.0, 1.0)}
    )
    student_law = generator.denoiser()

    class Right(nn.Module):
        def forward(self, xt, t, cond=None, judge=False):
            if not judge:
                return student_law(xt, t, cond)
            return teacher.log_density(xt, t) - student_law.log_density(xt, t)

    right = Right()
    objective._bare["critic"] = objective._bound["critic"] = right
    weighted = objective.options.discriminator.model_copy(update={"weight": 1.0})
    objective.options = objective.options.model_copy(update={"discriminator": weighted})
    z, weight = gauss_hermite_batch(64, 2)
    u = torch.full((len(z),), math.acos(0.8) / process.t_max, dtype=torch.float64)
    draws = {"noise": z[:, :1], "eps": z[:, 1:], "t": u, "gan_eps": z[:, 1:], "gan_t": u}
    together = generator_gradient(objective, generator, FixedDraws(draws), Batch(x0=z[:, :1], weight=weight))
    # the field and the adversarial part add up: (0.47102982, -0.21020267) + (0.17429690, -0.06039507)
    assert together == pytest.approx((0.4710298160 + 0.1742968978, -0.2102026735 - 0.0603950736), abs=1e-6)


# --- whole runs ---


def train(objective, steps, batch, lr, critic_lr, seed=0):
    optimizers = {
        "generator": torch.optim.Adam(objective.roles()["generator"].parameters(), lr, betas=(0.0, 0.99)),
        "critic": torch.optim.Adam(objective.roles()["critic"].parameters(), critic_lr, betas=(0.0, 0.99)),
    }
    for step in range(steps):
        decay = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizers["generator"].param_groups[0]["lr"] = lr * decay
        for phase in objective.phases(step):
            objective.focus(phase)
            rng = Rng(seed, step, phase)
            objective.loss(phase, Batch(noise=rng.normal("start", (batch, 2))), rng).backward()
            optimizers[phase.name].step()
            objective.zero_grad()


def test_a_learned_critic_brings_a_gaussian_student_to_the_teachers_mean_and_covariance():
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    mean = torch.tensor([1.0, -0.5], dtype=torch.float64)
    teacher = GaussianTeacher(RectifiedFlow(), mean, covariance=covariance)
    generator = GaussianGenerator(RectifiedFlow(), torch.zeros(2), 0.5 * torch.eye(2)).float()
    objective = ScoreDifference(critic={"updates": 3})
    objective.setup(generator, teacher)
    with torch.no_grad():  # the critic knows nothing yet
        objective.roles()["critic"].predictor.load_state_dict(generator.denoiser().state_dict())
    train(objective, steps=400, batch=128, lr=2e-2, critic_lr=3e-2)
    error = (generator.means[-1] - mean).abs().max().item(), (generator.covariance - covariance).abs().max().item()
    assert error[0] < 0.05 and error[1] < 0.05, error


@pytest.mark.slow
def test_a_learned_critic_keeps_every_mode_of_a_mixture():
    angles = torch.arange(6) * math.pi / 3
    means = 2.0 * torch.stack([angles.cos(), angles.sin()], 1).double()
    teacher = GaussianMixtureTeacher(RectifiedFlow(), means=means, stds=0.25, weights=[1 / 6] * 6)
    network = toy(3)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(1500):  # the student starts as a denoiser, as a pretrained teacher's copy would
        rng = Rng(1, step, "pretrain")
        t, eps = 0.02 + 0.97 * rng.uniform("t", (256,)), rng.normal("eps", (256, 2))
        x0 = teacher.sample(256, rng).float()
        xt = RectifiedFlow().add_noise(x0, eps, t)
        loss = ((network(xt, t).x0_hat - x0) / t[:, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    objective = ScoreDifference(critic={"init": "generator"})
    objective.setup(copy.deepcopy(network), teacher)
    train(objective, steps=800, batch=256, lr=5e-4, critic_lr=1e-3)
    with torch.no_grad():
        sample = objective.roles()["generator"](torch.randn(6000, 2), torch.ones(6000)).x0_hat
    share = torch.bincount(torch.cdist(sample.double(), means).argmin(1), minlength=6) / 6000
    assert share.min() > 0.5 / 6 and share.max() < 1.5 / 6, share
