"""The Gaussian oracle against derivatives, integration and the published special cases."""

import math

import pytest
import torch

import limbeck
from limbeck.interfaces import Space
from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import EDM, KINDS, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck.testing import GaussianGenerator, GaussianPredictor, GaussianTeacher, gauss_hermite_batch

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(), TrigFlow(sigma_data=0.5)]
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)

MEAN = torch.tensor([0.7, -1.1, 0.3], dtype=torch.float64)
STD = torch.tensor([0.6, 1.4, 0.25], dtype=torch.float64)
ROOT = torch.tensor([[0.9, 0.0, 0.0], [0.5, 0.4, 0.0], [-0.3, 0.2, 1.1]], dtype=torch.float64)


def teachers(process):
    return {
        "diagonal": GaussianTeacher(process, MEAN, STD),
        "correlated": GaussianTeacher(process, MEAN, covariance=ROOT @ ROOT.T),
        "classes": GaussianTeacher(process, MEAN, covariance=ROOT @ ROOT.T, class_means=torch.stack([MEAN + 1, -MEAN])),
        "predictor": GaussianPredictor(process, MEAN, ROOT),
        "diagonal predictor": GaussianPredictor(process, MEAN, STD, class_means=torch.stack([MEAN + 1, -MEAN])),
    }


every_distribution = pytest.mark.parametrize(
    "distribution", ["diagonal", "correlated", "classes", "predictor", "diagonal predictor"]
)


def setting(process, distribution, count=6):
    teacher = teachers(process)[distribution]
    cond = torch.arange(count) % 3 if teacher.classes else None
    t = torch.linspace(0.03, 0.97, count, dtype=torch.float64) * process.t_max
    xt = process.at(t, MEAN.expand(count, 3)).alpha_t * MEAN + torch.linspace(-1, 2, 3 * count).double().reshape(
        count, 3
    )
    return teacher, xt, t, cond


@every_process
@every_distribution
def test_score_is_the_gradient_of_the_log_density(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    xt.requires_grad_(True)
    expected = torch.autograd.grad(teacher.log_density(xt, t, cond).sum(), xt)[0]
    torch.testing.assert_close(teacher.score(xt, t, cond), expected, rtol=1e-9, atol=1e-11)
    assert float(expected.abs().max()) > 1e-3


@every_process
@every_distribution
def test_log_density_is_that_of_the_marginal(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    mean, covariance = teacher.marginal(t, cond)
    reference = torch.distributions.MultivariateNormal(mean, covariance)
    torch.testing.assert_close(teacher.log_density(xt, t, cond), reference.log_prob(xt), rtol=1e-9, atol=1e-9)


@every_process
@every_distribution
def test_x0_hat_is_the_posterior_mean_of_the_joint_gaussian(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    mean, c = teacher.mean_of(cond, xt), process.at(t, xt)
    for i in range(len(t)):
        a = c.alpha_t[i]
        gain = torch.linalg.solve(
            a**2 * teacher.covariance + c.sigma_t[i] ** 2 * torch.eye(3).double(), a * teacher.covariance
        )
        m = mean[i if len(mean) > 1 else 0]
        torch.testing.assert_close(teacher.x0_hat(xt, t, cond)[i], m + (xt[i] - a * m) @ gain, rtol=1e-9, atol=1e-10)
    assert torch.equal(teacher(xt, t, cond).x0_hat, teacher.x0_hat(xt, t, cond))


@every_process
@every_distribution
def test_the_five_predictions_are_conversions_of_each_other(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    said = {kind: getattr(teacher, "x0_hat" if kind == "x0" else kind)(xt, t, cond) for kind in KINDS}
    for given in KINDS:
        for wanted in KINDS:
            torch.testing.assert_close(
                process.convert(said[given], given, wanted, xt, t),
                said[wanted],
                rtol=1e-8,
                atol=1e-9,
                msg=f"{given} {wanted}",
            )
    assert all(float(value.detach().abs().min()) > 0 for value in said.values())


@every_process
@every_distribution
def test_flow_map_solves_the_probability_flow(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    s = 0.4 * t
    h = 1e-5 * process.t_max
    y = teacher.flow_map(xt, t, s, cond)
    slope = (teacher.flow_map(xt, t, s + h, cond) - teacher.flow_map(xt, t, s - h, cond)) / (2 * h)
    torch.testing.assert_close(
        slope, teacher.velocity(y, s, cond), rtol=2e-5, atol=1e-6
    )  # error of the differences, h^2
    torch.testing.assert_close(teacher.flow_map(xt, t, t, cond), xt, rtol=1e-10, atol=1e-10)
    middle = teacher.flow_map(teacher.flow_map(xt, t, 0.7 * t, cond), 0.7 * t, s, cond)
    torch.testing.assert_close(middle, y, rtol=1e-9, atol=1e-10)
    assert float((y - xt).detach().abs().max()) > 0.05


@every_process
def test_flow_map_equals_an_integration_of_the_velocity(process):
    teacher, xt, t, cond = setting(process, "correlated")
    s = 0.5 * t
    n = 200
    x, h = xt, (s - t) / n
    for k in range(n):  # Runge-Kutta 4
        now, step = t + k * h, h[:, None]
        k1 = teacher.velocity(x, now)
        k2 = teacher.velocity(x + step / 2 * k1, now + h / 2)
        k3 = teacher.velocity(x + step / 2 * k2, now + h / 2)
        k4 = teacher.velocity(x + step * k3, now + h)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    torch.testing.assert_close(teacher.flow_map(xt, t, s, cond), x, rtol=1e-6, atol=1e-6)


def test_flow_map_from_rectified_flow_noise_is_affine():
    # Phi_{1->0}(eps) = mu + s eps
    teacher = GaussianTeacher(RectifiedFlow(), 1.5, 0.7)
    eps = torch.tensor([[-2.0], [0.0], [1.0]], dtype=torch.float64)
    torch.testing.assert_close(teacher.consistency(eps, torch.ones(3, dtype=torch.float64)), 1.5 + 0.7 * eps)


@pytest.mark.parametrize(
    ("process", "velocity"),
    [
        (
            RectifiedFlow(),
            lambda x, t, m, s: -m + (t - (1 - t) * s**2) / ((1 - t) ** 2 * s**2 + t**2) * (x - (1 - t) * m),
        ),
        (EDM(), lambda x, t, m, s: t / (s**2 + t**2) * (x - m)),
        (
            TrigFlow(0.5),
            lambda x, t, m, s: -torch.sin(t) * m
            + (0.25 - s**2) * torch.sin(t) * torch.cos(t) / (torch.cos(t) ** 2 * s**2 + 0.25 * torch.sin(t) ** 2)
            * (x - torch.cos(t) * m),
        ),
        (
            VP(),
            lambda x, t, m, s: (lambda b, a: -0.5 * b * a * m
            + 0.5 * b * a**2 * (1 - s**2) / (a**2 * s**2 + 1 - a**2) * (x - a * m))(
                0.1 + 19.9 * t, torch.exp(-0.5 * (0.1 * t + 19.9 * t**2 / 2))
            ),
        ),
    ],
    ids=["RF", "EDM", "TrigFlow", "VP"],
)  # fmt: skip
def test_velocity_has_its_published_form_in_each_schedule(process, velocity):
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64) * process.t_max
    x = torch.linspace(-1, 3, 5, dtype=torch.float64)
    teacher = GaussianTeacher(process, 0.8, 0.6)
    got = teacher.velocity(x[:, None], t)[:, 0]
    torch.testing.assert_close(got, velocity(x, t, 0.8, 0.6), rtol=1e-9, atol=1e-11)
    assert float(got.abs().min()) > 1e-3


# --- special cases that expose bugs ----------------------------------------------------------------------------------


def test_trigflow_of_data_as_wide_as_its_noise_does_not_move():
    process = TrigFlow(sigma_data=0.5)
    x = torch.tensor([[0.9], [-1.3]], dtype=torch.float64)
    t = torch.tensor([0.4, 1.2], dtype=torch.float64)
    still = GaussianTeacher(process, 0.0, 0.5)
    torch.testing.assert_close(still.velocity(x, t), torch.zeros_like(x))
    torch.testing.assert_close(still.consistency(x, t), x)
    # the network of the exact consistency function is F = -tan(t/2) x / sigma_d: cos t x - sigma_d sin t F = x
    out = -torch.tan(t / 2)[:, None] * x / 0.5
    torch.testing.assert_close(torch.cos(t)[:, None] * x - 0.5 * torch.sin(t)[:, None] * out, x)
    moving = GaussianTeacher(process, 0.0, 0.8)
    assert float(moving.velocity(x, t).abs().min()) > 0.1


def test_variance_preserving_standard_normal_does_not_move():
    x, t = torch.tensor([[0.9]], dtype=torch.float64), torch.tensor([0.6], dtype=torch.float64)
    torch.testing.assert_close(GaussianTeacher(VP(), 0.0, 1.0).velocity(x, t), torch.zeros_like(x))
    assert float(GaussianTeacher(VP(), 0.0, 1.3).velocity(x, t).abs()) > 0.05


@every_process
def test_a_point_mass_is_predicted_from_anywhere(process):
    x = torch.tensor([[0.9], [-1.3]], dtype=torch.float64)
    t = torch.tensor([0.3, 1.0], dtype=torch.float64) * process.t_max
    teacher = GaussianTeacher(process, 2.5, 0.0)
    expected = torch.full_like(x, 2.5)
    torch.testing.assert_close(teacher.x0_hat(x, t), expected)
    torch.testing.assert_close(teacher.consistency(x, t), expected)
    if isinstance(process, RectifiedFlow):
        torch.testing.assert_close(teacher.velocity(x, t), (x - 2.5) / t[:, None])


def test_a_factor_beside_guidance_moves_the_mean():
    process = RectifiedFlow()
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    x = torch.tensor([[1.0, 2.0], [0.1, -3.0], [2.0, 0.0]], dtype=torch.float64)
    classes = torch.tensor([[1.0, -1.0], [2.0, 3.0]])
    covariance = torch.tensor([[1.0, 0.5], [0.5, 2.0]])
    teacher = GaussianTeacher(process, torch.tensor([0.5, 0.25]), covariance=covariance, class_means=classes)
    cond = torch.tensor([0, 1, 1])
    exact = teacher.guided(3.5)
    torch.testing.assert_close(exact.means[0], torch.tensor([0.5 + 3.5 * 0.5, 0.25 + 3.5 * -1.25]).double())
    torch.testing.assert_close(Guided(teacher, 3.5)(x, t, cond).x0_hat, exact(x, t, cond).x0_hat)
    # the convention cond + w (cond - uncond) is scale 1 + w: taken for the standard one it would miss by a whole
    # difference
    assert float((Guided(teacher, 2.5)(x, t, cond).x0_hat - exact(x, t, cond).x0_hat).abs().max()) > 0.3


# --- shapes, conditions, dtype, frames -------------------------------------------------------------------------------


def test_null_condition_and_no_condition_are_the_unconditional_distribution():
    teacher, xt, t, cond = setting(RectifiedFlow(), "classes")
    free = teacher(xt, t).x0_hat
    assert torch.equal(teacher(xt, t, teacher.null(cond)).x0_hat, free)
    assert float((teacher(xt, t, cond).x0_hat - free)[[0, 1, 3, 4]].abs().max(1).values.min()) > 1e-3


def test_conditions_for_an_unconditional_teacher_are_refused():
    teacher = GaussianTeacher(RectifiedFlow(), MEAN, STD)
    with pytest.raises(ValueError, match="built without class_means"):
        teacher(torch.zeros(2, 3), torch.ones(2) / 2, torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="has no null condition"):
        teacher.null(torch.tensor([0]))


@every_process
@every_distribution
def test_equal_frame_times_equal_one_time_and_frames_are_independent_when_uncorrelated(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    frames = t[:, None].expand(-1, 3)
    torch.testing.assert_close(teacher(xt, frames, cond).x0_hat, teacher(xt, t, cond).x0_hat, rtol=1e-9, atol=1e-10)
    mixed = t[torch.tensor([[i, (i + 1) % 6, (i + 2) % 6] for i in range(6)])]
    got = teacher.x0_hat(xt, mixed, cond)
    if "diagonal" in distribution:
        for f in range(3):
            torch.testing.assert_close(got[:, f], teacher.x0_hat(xt, mixed[:, f], cond)[:, f], rtol=1e-9, atol=1e-10)
    # the score at mixed times is still the gradient of the joint density
    mean, covariance = teacher.mean_of(cond, xt), teacher.covariance
    c = process.at(mixed, xt)
    total = c.alpha_t[:, :, None] * covariance * c.alpha_t[:, None, :] + torch.diag_embed(c.sigma_t**2)
    expected = -torch.linalg.solve(total, xt - c.alpha_t * mean)
    torch.testing.assert_close(teacher.score(xt, mixed, cond), expected, rtol=1e-8, atol=1e-9)


def test_a_flow_map_refuses_one_time_per_frame():
    with pytest.raises(ValueError, match="one time per sample"):
        GaussianTeacher(RectifiedFlow(), MEAN, STD).flow_map(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("event", [(4,), (2, 3), (1, 4, 4), (2, 1, 2, 3)])
def test_events_of_any_rank(event):
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(event, generator=g)
    size = mean.numel()
    root = torch.eye(size).double() + 0.1 * torch.randn(size, size, generator=g, dtype=torch.float64)
    x, t = torch.randn(3, *event, generator=g), torch.tensor([0.2, 0.5, 0.9])
    for teacher in (GaussianTeacher(EDM(), mean, 0.7), GaussianTeacher(EDM(), mean, covariance=root @ root.T)):
        assert teacher.space == Space(event)
        out = teacher(x, t, s=t / 2, features=(0, -1))
        assert out.x0_hat.shape == out.xs.shape == (3, *event) and out.x0_hat.dtype == torch.float32
        assert [f.shape for f in out.features] == [(3, size)] * 2
        copy = teacher.trainable_copy()
        torch.testing.assert_close(copy(x, t).x0_hat, out.x0_hat, rtol=1e-4, atol=1e-5)
        assert teacher.sample(5, limbeck.rng(0)).shape == (5, *event)


def test_a_teacher_says_what_it_was_not_given():
    with pytest.raises(ValueError, match="either std .* or covariance"):
        GaussianTeacher(EDM(), MEAN)
    with pytest.raises(ValueError, match="positive semidefinite; its smallest eigenvalue is -1"):
        GaussianTeacher(EDM(), torch.zeros(2), covariance=torch.diag(torch.tensor([1.0, -1.0])))


def test_samples_have_the_moments_of_the_marginal():
    teacher = GaussianTeacher(VP(), MEAN, covariance=ROOT @ ROOT.T, class_means=torch.stack([MEAN + 1, -MEAN]))
    cond = torch.ones(60_000, dtype=torch.int64)
    for t in (None, 0.4):
        x = teacher.sample(60_000, limbeck.rng(3), cond, t=t)
        mean, covariance = teacher.marginal(torch.tensor([t or 0.0]), cond[:1])
        torch.testing.assert_close(x.mean(0), mean[0], atol=0.02, rtol=0)
        torch.testing.assert_close(x.T.cov(), covariance[0], atol=0.04, rtol=0)


# --- the trainable side ----------------------------------------------------------------------------------------------


@every_process
@every_distribution
def test_a_trainable_copy_starts_as_the_teacher_and_learns(process, distribution):
    teacher, xt, t, cond = setting(process, distribution)
    copy = teacher.trainable_copy()
    torch.testing.assert_close(copy(xt, t, cond).x0_hat, teacher(xt, t, cond).x0_hat, rtol=1e-9, atol=1e-10)
    assert all(p.requires_grad for p in copy.parameters())
    copy(xt, t, cond).x0_hat.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in copy.parameters())
    if "predictor" not in distribution:
        assert not any(p.requires_grad for p in teacher.parameters())


def test_the_distribution_of_a_generator_is_its_perfect_critic():
    # x = m + A z: the critic must give the least denoising error, E tr(Sigma) parts included; compare by quadrature
    for process in PROCESSES:
        generator = GaussianGenerator(process, 0.7, 0.6)
        z, w = gauss_hermite_batch(40, 2)
        t = process.time(torch.tensor(1.1, dtype=torch.float64)).expand(len(w))
        x0 = generator(process.prior_std * z[:, :1], torch.full_like(t, process.t_max)).x0_hat
        torch.testing.assert_close((w[:, None] * x0).sum(0), torch.tensor([0.7]).double())
        torch.testing.assert_close((w[:, None] * (x0 - 0.7) ** 2).sum(0), torch.tensor([0.36]).double())
        xt = process.add_noise(x0, z[:, 1:], t)
        critic = generator.denoiser()
        loss = (w[:, None] * (critic(xt, t).x0_hat - x0) ** 2).sum()
        # irreducible posterior variance: A^2 sigma^2 / (alpha^2 A^2 + sigma^2) = A^2 s^2 / (A^2 + s^2), s = sigma /
        # alpha
        assert float(loss.detach()) == pytest.approx(0.36 * 1.21 / (0.36 + 1.21), rel=1e-9)
        gradient = torch.autograd.grad(loss, list(critic.parameters()))
        assert max(float(g.abs().max()) for g in gradient) < 1e-9
        wrong = GaussianPredictor(process, 0.9, 0.6)
        assert float((w[:, None] * (wrong(xt, t).x0_hat - x0.detach()) ** 2).sum()) > float(loss.detach()) + 1e-3


def test_quadrature_of_the_score_difference_gives_fixture_one():
    # methods: mu = 0.7, A = 0.6, teacher (-0.4, 1.3) at sigma/alpha = 1.125, x0-space injected field with weight 1
    z, w = gauss_hermite_batch(48, 2)
    for process in PROCESSES:
        teacher, generator = GaussianTeacher(process, -0.4, 1.3), GaussianGenerator(process, 0.7, 0.6)
        t = process.time(torch.tensor(1.125, dtype=torch.float64)).expand(len(w))
        x0 = generator(process.prior_std * z[:, :1], torch.full_like(t, process.t_max)).x0_hat
        xt = process.add_noise(x0, z[:, 1:], t).detach()
        field = (generator.denoiser()(xt, t).x0_hat - teacher(xt, t).x0_hat).detach()
        (w[:, None] * field * x0).sum().backward()
        assert float(generator.means.grad) == pytest.approx(0.4710298160, abs=1e-9)
        assert float(generator.factor.grad) == pytest.approx(-0.2102026735, abs=1e-9)


@pytest.mark.parametrize("distribution", ["diagonal", "correlated"])
def test_a_predictor_can_answer_the_end_of_its_trajectory(distribution):
    teacher, xt, t, _ = setting(TrigFlow(), distribution)
    student = teacher.trainable_copy(predicts="flow_map")
    torch.testing.assert_close(student(xt, t).x0_hat, teacher.consistency(xt, t), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(student(xt, torch.zeros_like(t)).x0_hat, xt)
    assert float((student(xt, t).x0_hat - teacher(xt, t).x0_hat).abs().max()) > 0.05
    student(xt, t).x0_hat.square().sum().backward()
    assert bool(student.factor.grad.isfinite().all()) and float(student.factor.grad.abs().max()) > 0


def test_a_critic_fits_a_correlated_student_by_gradient_descent():
    torch.manual_seed(0)
    process = RectifiedFlow()
    generator = GaussianGenerator(process, torch.tensor([1.0, -0.5]), torch.tensor([[0.8, 0.0], [0.6, 0.5]]))
    critic = GaussianTeacher(process, torch.zeros(2), covariance=torch.eye(2)).trainable_copy()
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    for step in range(400):
        rng = limbeck.rng(0, step)
        with torch.no_grad():
            x0 = generator(rng.normal("noise", (256, 2), torch.float64), torch.ones(256)).x0_hat
        t = 0.05 + 0.9 * rng.uniform("t", (256,), torch.float64)
        xt = process.add_noise(x0, rng.normal("eps", (256, 2), torch.float64), t)
        loss = (critic(xt, t).x0_hat - x0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(critic.mean, generator.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(critic.covariance, generator.covariance, atol=0.1, rtol=0)


def test_factors_of_every_layout_are_understood():
    space = Space((2, 2))
    assert GaussianGenerator(EDM(), 0.0, 1.0, space=space).diagonal
    assert GaussianGenerator(EDM(), 0.0, torch.ones(2, 2), space=space).diagonal
    assert not GaussianGenerator(EDM(), 0.0, torch.eye(4), space=space).diagonal
    generator = GaussianGenerator(EDM(), 0.0, math.sqrt(2) * torch.eye(4), space=space)
    assert torch.allclose(generator.covariance, 2 * torch.eye(4).double())
    x = generator(80 * torch.ones(1, 2, 2), torch.tensor([80.0]))
    torch.testing.assert_close(x.x0_hat, math.sqrt(2) * torch.ones(1, 2, 2))
