"""SDS, CSD, VSD and ISM against the closed forms of a Gaussian teacher, and the reductions between them.

Notation of the closed forms: data N(m, v^2), D = m_cond - m_null, a and s the coefficients at t, r = s / a,
tau^2 = a^2 v^2 + s^2, k = a s / tau^2, G the guidance scale, m_G = m_null + G D.
"""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from limbeck.interfaces import Batch, Codec, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.networks.guidance import Guided
from limbeck.networks.scenes import Render, Scene
from limbeck.plugins.registry import resolve
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.testing import FixedDraws, GaussianGenerator, GaussianTeacher, gauss_hermite_batch
from limbeck.testing.conformance import ObjectiveConformance
from limbeck_diffusion.formulas.fields import clip_field, field_weight, injection_loss
from limbeck_diffusion.objectives.matching.ism import ISM

DMD2, SDS, CSD, VSD = (resolve("objective", name) for name in ("dmd2", "sds", "csd", "vsd"))

GENERATOR, CRITIC = Phase("generator", ("generator",)), Phase("critic", ("critic",))
PROCESSES = [RectifiedFlow(), VP(), EDM(), TrigFlow(0.5)]
EVENT = (1, 1, 1)
NULL, COND, STD = -0.3, 0.9, 0.6  # means without and with the condition, their standard deviation
D = COND - NULL
WEIGHTS = {  # w(t) of the sheet
    "sds": lambda a, s: s**2,
    "uniform": lambda a, s: 1.0,
    "fantasia3d": lambda a, s: a * s**2,
    "placid_dreamer": lambda a, s: a,
    "x0": lambda a, s: s / a,
}


class Canvas(Scene):
    """One picture per view: the parameter itself, or `matrix` times a shared parameter."""

    def __init__(self, start, penalty: float = 0.0):
        super().__init__()
        start = torch.as_tensor(start)
        self.picture, self.penalty = nn.Parameter(start.clone()), penalty
        self.space = Space(tuple(start.shape[1:]), domain="pixels")

    def forward(self, cond):
        alpha = torch.ones(len(self.picture), 1, *self.picture.shape[2:])
        penalties = {"flatness": self.penalty * self.picture.square().flatten(1).sum(1)} if self.penalty else {}
        return Render(image=self.picture, alpha=alpha, penalties=penalties)


def full(value, *more, event=EVENT):
    """A constant (*more, *event) in float64."""
    return torch.full((*more, *event), value, dtype=torch.float64)


def teacher_of(process, std=STD, cond=COND, null=NULL, event=EVENT):
    means = full(cond, 1, event=event)
    return GaussianTeacher(process, full(null, event=event), full(std, event=event), class_means=means)


def time_of(process, fraction):
    """A fraction of t_max; on EDM, of a tenth of it, where something happens."""
    return fraction * process.t_max / (40 if isinstance(process, EDM) else 1)


def coefficients(process, t):
    a, s = (float(c) for c in process.coefficients(torch.tensor(t, dtype=torch.float64))[:2])
    return a, s


def fields(objective, teacher, x, t, eps, critic=None, **draws):
    """G_x of every row: x, eps (B,) in float64, one time. The loss is a mean over rows, its gradient G_x / B."""
    rows = len(x)
    canvas = Canvas(x.reshape(rows, *EVENT))
    objective.setup(canvas, teacher)
    if critic is not None:
        objective.roles()["critic"].predictor.load_state_dict(critic.state_dict())
    u = torch.full((rows,), t / teacher.process.t_max, dtype=torch.float64)
    rng = FixedDraws({"t": u, "eps": eps.reshape(rows, *EVENT), **draws})
    objective.focus(GENERATOR)
    objective.zero_grad()
    objective.loss(GENERATOR, Batch(cond=torch.zeros(rows, dtype=torch.int64)), rng).backward()
    return canvas.picture.grad.flatten() * rows


def everywhere(nodes: int = 24):
    """Quadrature over injected noise, (N,) nodes and weights."""
    z, w = gauss_hermite_batch(nodes, 1)
    return z[:, 0], w


def options(**more):
    return {"times": {"range": (0.0, 1.0)}, **more}


# --- table 1.1 ---


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("weight", "scale"), [("sds", 1.0), ("uniform", 7.5), ("fantasia3d", 3.0), ("x0", 1.0)])
def test_sds_has_the_mean_and_the_noise_of_its_closed_form(process, weight, scale):
    x, t = 0.35, time_of(process, 0.4)
    (a, s), (eps, chance) = coefficients(process, t), everywhere()
    found = fields(
        SDS(field={"weight": weight}, **options()), Guided(teacher_of(process), scale), torch.full_like(eps, x), t, eps
    )
    tau2, w, m = a**2 * STD**2 + s**2, WEIGHTS[weight](a, s), NULL + scale * D
    mean = (chance * found).sum()
    std = (chance * (found - mean).square()).sum().sqrt()
    assert abs(w * a * s / tau2 * (x - m)) > 1e-4
    assert mean.item() == pytest.approx(w * a * s / tau2 * (x - m), rel=1e-9)
    assert std.item() == pytest.approx(w * a**2 * STD**2 / tau2, rel=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("weight", list(WEIGHTS))
def test_csd_is_one_number_whatever_the_picture_and_the_noise(process, weight):
    t = time_of(process, 0.3)
    (a, s), (eps, _) = coefficients(process, t), everywhere()
    x = torch.linspace(-2, 2, len(eps), dtype=torch.float64)
    found = fields(CSD(field={"weight": weight}, **options()), teacher_of(process), x, t, eps)
    expected = -WEIGHTS[weight](a, s) * a * s / (a**2 * STD**2 + s**2) * D
    assert abs(expected) > 1e-4
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=1e-9, atol=1e-13)


def cloud(nodes: int = 20):
    """Particles and noise as a product rule: offsets u, noise, weights."""
    z, w = gauss_hermite_batch(nodes, 2)
    return z[:, 0], z[:, 1], w


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("spread", [0.2, 1.1], ids=["narrow", "wide"])
def test_vsd_with_an_exact_critic_moves_the_cloud_and_widens_or_narrows_it(process, spread):
    centre, t = 0.2, time_of(process, 0.4)
    (a, s), (u, eps, chance) = coefficients(process, t), cloud()
    critic = GaussianTeacher(process, full(0.0), full(spread), class_means=full(centre, 1))
    found = fields(VSD(**options()), teacher_of(process), centre + spread * u, t, eps, critic.trainable_copy())
    tau2, total = a**2 * STD**2 + s**2, a**2 * spread**2 + s**2
    drift = s**2 * a * s / tau2 * (centre - COND)
    width = s**2 * a * s * spread * (1 / tau2 - 1 / total)
    assert width * (spread - STD) > 0 and abs(width) > 1e-5 and abs(drift) > 1e-4
    assert (chance * found).sum().item() == pytest.approx(drift, rel=1e-9)
    assert (chance * found * u).sum().item() == pytest.approx(width, rel=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_vsd_vanishes_for_every_noise_where_the_cloud_is_the_teachers_law(process):
    t, (u, eps, _) = time_of(process, 0.4), cloud(6)
    teacher = teacher_of(process)
    x = COND + STD * u
    found = fields(VSD(**options()), teacher, x, t, eps, teacher.trainable_copy())
    assert found.abs().max().item() < 1e-13
    sds = fields(SDS(**options()), teacher, x, t, eps)
    assert sds.abs().max().item() > 1e-3  # sds does not: it would collapse the cloud


def test_vsd_with_one_particle_and_a_perfect_critic_is_sds_for_every_noise():
    process, (eps, _) = RectifiedFlow(), everywhere(9)
    point = GaussianTeacher(process, full(0.0), full(0.0), class_means=full(0.2, 1))
    x, teacher = torch.full_like(eps, 0.2), Guided(teacher_of(process), 4.0)
    vsd = fields(VSD(**options()), teacher, x, 0.4, eps, point.trainable_copy())
    sds = fields(SDS(**options()), teacher, x, 0.4, eps)
    torch.testing.assert_close(vsd, sds, rtol=1e-12, atol=1e-13)
    assert sds.abs().min().item() > 1e-3


def inverted(process, x, s, steps):
    """y_s of the discrete inversion on the null Gaussian: y - m grows by (v^2 + r_j r_{j+1}) / (v^2 + r_j^2)."""
    levels = [0.0] + [k / steps * s for k in range(1, steps + 1)]
    y = x
    for below, above in pairwise(levels):
        low = 0.0 if below == 0 else coefficients(process, below)[1] / coefficients(process, below)[0]
        high = coefficients(process, above)[1] / coefficients(process, above)[0]
        y = NULL + (y - NULL) * (STD**2 + low * high) / (STD**2 + low**2)
    return y


def ism_field(process, x, t, s, steps, scale, weight="x0", std=STD):
    a, b = coefficients(process, t), coefficients(process, s)
    r_t, r_s = a[1] / a[0], b[1] / b[0]
    y = inverted(process, x, s, steps)
    between = std**2 * (r_t - r_s) * (y - NULL) / ((std**2 + r_s**2) * (std**2 + r_t**2))
    return WEIGHTS[weight](*a) * (between - scale * r_t * D / (std**2 + r_t**2))


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("scale", "steps", "weight"), [(1.0, 1, "x0"), (7.5, 3, "x0"), (2.0, 5, "sds")])
def test_ism_is_its_closed_form_and_has_no_noise(process, scale, steps, weight):
    t, interval = time_of(process, 0.5), time_of(process, 0.1)
    x = torch.tensor([-1.2, 0.1, 0.8], dtype=torch.float64)
    # the stride is chosen so that the inversion takes `steps` steps
    objective = ISM(
        inversion={"interval": interval / process.t_max, "steps": steps, "stride": 0.01},
        field={"weight": weight},
        **options(),
    )
    found = fields(objective, Guided(teacher_of(process), scale), x, t, torch.zeros_like(x))
    expected = [ism_field(process, float(v), t, t - interval, steps, scale, weight) for v in x]
    assert min(abs(v) for v in expected) > 1e-4
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_ism_asks_for_no_noise_and_repeats_itself_exactly():
    x, teacher = torch.tensor([0.4, -0.2], dtype=torch.float64), Guided(teacher_of(VP()), 7.5)
    one, two = (fields(ISM(**options()), teacher, x, 0.4, torch.randn(2, dtype=torch.float64)) for _ in range(2))
    assert torch.equal(one, two) and one.abs().min() > 1e-3


def test_ism_takes_as_many_inversion_steps_as_its_stride_needs():
    calls = []

    class Counted(GaussianTeacher):
        def forward(self, xt, t, cond=None, **asked):
            calls.append((len(xt), round(float(t[0]), 6)))
            return super().forward(xt, t, cond, **asked)

    teacher = Guided(
        Counted(RectifiedFlow(), torch.zeros(EVENT), torch.ones(EVENT), class_means=torch.ones(1, *EVENT)), 5.0
    )
    x = torch.zeros(2, dtype=torch.float64)
    fields(ISM(times={"range": (0.0, 0.5)}, inversion={"interval": 0.05, "stride": 0.2}), teacher, x, 1.0, x)
    # u = 1 is the upper end: t = 0.5, s = 0.45 in three steps, of which the first asks nobody
    assert calls == [(2, 0.15), (2, 0.3), (2, 0.45), (4, 0.5)]


# --- zeros and drifts ---


def descended(objective, teacher, start, t, steps, lr, noise_seed=0):
    x = torch.full((64,), start, dtype=torch.float64)
    g = torch.Generator().manual_seed(noise_seed)
    for _ in range(steps):
        x = x - lr * fields(objective, teacher, x, t, torch.randn(64, generator=g, dtype=torch.float64))
    return x


def test_sds_descends_to_the_mean_of_the_guided_law_and_csd_never_stops():
    process, teacher = RectifiedFlow(), Guided(teacher_of(RectifiedFlow()), 3.0)
    sds = descended(SDS(field={"weight": "uniform"}, **options()), teacher, -1.0, 0.6, 200, 0.05)
    assert sds.mean().item() == pytest.approx(NULL + 3 * D, abs=0.05)
    a, s = coefficients(process, 0.6)
    csd = descended(CSD(field={"weight": "uniform"}, **options()), teacher, -1.0, 0.6, 200, 0.05)
    assert csd.mean().item() == pytest.approx(-1.0 + 200 * 0.05 * 3 * a * s / (a**2 * STD**2 + s**2) * D, rel=1e-9)


def test_ism_contracts_to_the_null_mean_without_a_condition_and_overshoots_with_one():
    process, t, interval = RectifiedFlow(), 0.6, 0.2
    objective = ISM(inversion={"interval": interval, "steps": 2, "stride": 0.01}, **options())
    same = GaussianTeacher(process, full(NULL), full(STD), class_means=full(NULL, 1))
    x = torch.tensor([1.5], dtype=torch.float64)
    field = fields(objective, same, x, t, x)
    assert field.item() == pytest.approx(ism_field(process, 1.5, t, t - interval, 2, 0.0), rel=1e-9)
    assert fields(objective, same, torch.tensor([NULL], dtype=torch.float64), t, x).item() == pytest.approx(
        0, abs=1e-14
    )
    # with a condition the field vanishes at x* beyond the guided mean: solve the closed form, which is linear in x
    slope = ism_field(process, 1.0, t, t - interval, 2, 2.0) - ism_field(process, 0.0, t, t - interval, 2, 2.0)
    fixed = -ism_field(process, 0.0, t, t - interval, 2, 2.0) / slope
    assert fixed - NULL > 2 * D
    rest = fields(objective, Guided(teacher_of(process), 2.0), torch.tensor([fixed], dtype=torch.float64), t, x)
    assert rest.item() == pytest.approx(0, abs=1e-12)


# --- the lattice of reductions ---


@pytest.fixture
def setting():
    g = torch.Generator().manual_seed(3)
    x, eps = (torch.randn(5, generator=g, dtype=torch.float64) for _ in range(2))
    return teacher_of(VP()), x, 0.45, eps


def test_sds_is_linear_in_guidance_with_csd_as_its_slope(setting):
    teacher, x, t, eps = setting
    sds = [fields(SDS(**options()), Guided(teacher, scale), x, t, eps) for scale in (7.5, 2.0, 0.0)]
    csd = fields(CSD(field={"weight": "sds"}, **options()), teacher, x, t, eps)
    torch.testing.assert_close(sds[0] - sds[1], 5.5 * csd, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(sds[0], sds[2] + 7.5 * csd, rtol=1e-12, atol=1e-13)
    guided = fields(CSD(field={"weight": "sds"}, **options()), Guided(teacher, 4.0), x, t, eps)
    torch.testing.assert_close(guided, 4 * csd, rtol=1e-12, atol=1e-13)
    assert csd.abs().min() > 1e-3


def test_an_untrained_critic_makes_vsd_csd_and_the_null_teacher_as_critic_too(setting):
    teacher, x, t, eps = setting
    csd = fields(CSD(field={"weight": "sds"}, **options()), teacher, x, t, eps)
    untrained = fields(VSD(**options()), Guided(teacher, 7.5), x, t, eps)  # starts as the teacher's copy
    torch.testing.assert_close(untrained, 6.5 * csd, rtol=1e-12, atol=1e-13)
    null = GaussianTeacher(VP(), full(NULL), full(STD), class_means=full(NULL, 1))
    found = fields(VSD(**options()), Guided(teacher, 7.5), x, t, eps, null.trainable_copy())
    torch.testing.assert_close(found, 7.5 * csd, rtol=1e-12, atol=1e-13)


def test_ism_of_a_vanishing_interval_is_guidance_times_csd(setting):
    teacher, x, t, eps = setting
    csd = fields(CSD(field={"weight": "x0"}, **options()), teacher, x, t, eps)
    ism = fields(ISM(inversion={"interval": 1e-9, "steps": 4}, **options()), Guided(teacher, 7.5), x, t, eps)
    torch.testing.assert_close(ism, 7.5 * csd, rtol=1e-6, atol=1e-9)


def test_the_interval_term_vanishes_for_a_point_mass():
    teacher, x = teacher_of(RectifiedFlow(), std=0.0), torch.tensor([0.5, -2.0], dtype=torch.float64)
    ism = fields(ISM(inversion={"interval": 0.2}, **options()), Guided(teacher, 3.0), x, 0.6, x)
    csd = fields(CSD(field={"weight": "x0"}, **options()), teacher, x, 0.6, x)
    torch.testing.assert_close(ism, 3.0 * csd, rtol=1e-12, atol=1e-13)


def test_the_presets_are_options_of_the_general_form(setting):
    teacher, x, t, eps = setting
    guided = Guided(teacher, 3.0)
    general = {"weight": "sds", "normalise": None, "reduction": "sum"}
    pairs = [
        (SDS(**options()), DMD2(field={"subtract": "noise", **general}, **options())),
        (CSD(field={"weight": "sds"}, **options()), DMD2(field={"subtract": "null", **general}, **options())),
        (VSD(**options()), DMD2(field={"subtract": "critic", **general}, **options())),
    ]
    for preset, same in pairs:
        one, two = fields(preset, guided, x, t, eps), fields(same, guided, x, t, eps)
        assert torch.equal(one, two) and one.abs().min() > 1e-4


def test_options_of_a_critic_that_there_is_not_are_refused():
    with pytest.raises(ValueError, match="critic means nothing with field.subtract: noise, which trains none"):
        SDS(critic={"updates": 2})
    with pytest.raises(ValueError, match="critic means nothing with field.subtract: null"):
        DMD2(field={"subtract": "null"}, critic={"loss": "eps"})
    with pytest.raises(ValueError, match=r"discriminator.weight needs the critic.*got field.subtract: null"):
        CSD(discriminator={"weight": 0.1})
    assert SDS(critic={"updates": 5}).options.critic == DMD2().options.critic  # as it is by default: a resolved recipe


def test_weights_differ_by_their_ratio(setting):
    teacher, x, t, eps = setting
    a, s = coefficients(teacher.process, t)
    base = fields(SDS(field={"weight": "uniform"}, **options()), teacher, x, t, eps)
    for kind, w in WEIGHTS.items():
        found = fields(SDS(field={"weight": kind}, **options()), teacher, x, t, eps)
        torch.testing.assert_close(found, w(a, s) * base, rtol=1e-12, atol=1e-14)
        f = field_weight(teacher.process, torch.tensor([t], dtype=torch.float64), kind)
        assert f.item() == pytest.approx(w(a, s) * a / s, rel=1e-12)


@pytest.mark.parametrize("cls", [SDS, VSD, ISM])
def test_moving_pictures_and_laws_together_changes_nothing(cls):
    x, eps = torch.tensor([0.4, -0.7], dtype=torch.float64), torch.tensor([0.3, 1.2], dtype=torch.float64)
    here = fields(cls(**options()), Guided(teacher_of(VP()), 5.0), x, 0.4, eps)
    there = fields(cls(**options()), Guided(teacher_of(VP(), cond=COND + 2, null=NULL + 2), 5.0), x + 2, 0.4, eps)
    torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-12)
    assert here.abs().min() > 1e-3


# --- parameterisations, maps, codecs ---


class Answers(nn.Module):
    """A network that knows the Gaussian exactly and returns one kind of prediction, in `Denoiser`'s frame."""

    def __init__(self, exact, kind, sigma_data=0.5):
        super().__init__()
        self.exact, self.kind, self.sigma_data = exact, kind, sigma_data

    def forward(self, x, time, cond=None):
        t = time * self.exact.process.t_max
        c = self.exact.process.at(t, x)
        xt = x * torch.sqrt((c.alpha_t * self.sigma_data) ** 2 + c.sigma_t**2)
        return {"x0": self.exact.x0_hat, "eps": self.exact.eps, "v": self.exact.v, "velocity": self.exact.velocity}[
            self.kind
        ](xt, t, cond)


@pytest.mark.parametrize("cls", [SDS, CSD, ISM])
def test_the_field_does_not_depend_on_what_the_network_predicts(cls):
    oracle = teacher_of(VP())
    x, eps = torch.tensor([0.4, -0.7], dtype=torch.float64), torch.tensor([0.3, 1.2], dtype=torch.float64)
    exact = fields(cls(**options()), Guided(oracle, 3.0), x, 0.35, eps)
    assert exact.abs().min() > 1e-3
    for kind in ("x0", "eps", "v", "velocity"):
        network = Denoiser(Answers(oracle, kind), VP(), Space(EVENT), prediction=kind, null=1).freeze()
        found = fields(cls(**options()), Guided(network, 3.0), x, 0.35, eps)
        torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12)


def test_a_linear_scene_gets_the_transpose_of_the_field():
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(6, 3, generator=g, dtype=torch.float64)
    event = (1, 2, 3)

    class Linear(Scene):
        def __init__(self):
            super().__init__()
            self.theta = nn.Parameter(torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64))
            self.space = Space(event, domain="pixels")

        def forward(self, cond):
            image = (matrix @ self.theta).reshape(1, *event).expand(len(cond), -1, -1, -1)
            return Render(image=image, alpha=torch.ones(len(cond), 1, 2, 3))

    scene, objective, teacher = Linear(), SDS(**options()), Guided(teacher_of(VP(), event=event), 3.0)
    objective.setup(scene, teacher)
    eps = torch.randn(4, *event, generator=g, dtype=torch.float64)
    t = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    rng, cond = FixedDraws({"t": t, "eps": eps}), torch.zeros(4, dtype=torch.int64)
    objective.loss(GENERATOR, Batch(cond=cond), rng).backward()
    x = (matrix @ scene.theta.detach()).reshape(1, *event).expand(4, -1, -1, -1)
    c = VP().at(t, x)
    predicted = teacher(c.alpha_t * x + c.sigma_t * eps, t, cond).x0_hat
    field = c.alpha_t * c.sigma_t * (x - predicted)  # s^2 (eps_p - eps)
    torch.testing.assert_close(scene.theta.grad, matrix.T @ field.mean(0).flatten(), rtol=1e-10, atol=1e-12)
    assert scene.theta.grad.abs().min() > 1e-3


class TinyCodec(Codec):
    """A random convolutional autoencoder, 8 pixels to 4 latents per side."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 2, 3, 1, 1)).double()
        self.up = nn.Sequential(nn.ConvTranspose2d(2, 3, 4, 2, 1)).double()

    def encode(self, seen):
        return self.down(seen)

    def decode(self, value):
        return self.up(value)


@pytest.mark.parametrize("cls", [SDS, CSD, VSD, ISM])
def test_a_latent_teacher_moves_the_scene_through_its_codec(cls):
    codec, latent = TinyCodec(), (2, 4, 4)
    teacher = GaussianTeacher(
        VP(), full(NULL, event=latent), full(STD, event=latent), class_means=full(COND, 1, event=latent),
        space=Space(latent, codec=codec),
    )  # fmt: skip
    g = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, 8, 8, generator=g, dtype=torch.float64)
    eps = torch.randn(2, *latent, generator=g, dtype=torch.float64)
    draws = {"t": torch.tensor([0.3, 0.6], dtype=torch.float64), "eps": eps}
    batch = Batch(cond=torch.zeros(2, dtype=torch.int64))
    seen, outer = Canvas(image), cls(**options())
    outer.setup(seen, Guided(teacher, 3.0))
    outer.loss(GENERATOR, batch, FixedDraws(draws)).backward()
    # the field at the latents themselves, for a scene that lives in the teacher's space
    plain = teacher_of(VP(), event=latent)
    with torch.no_grad():
        z = codec.encode(image)
    bare, inner = Canvas(z), cls(**options())
    inner.setup(bare, Guided(plain, 3.0))
    inner.loss(GENERATOR, batch, FixedDraws(draws)).backward()
    leaf = image.clone().requires_grad_()
    (expected,) = torch.autograd.grad(codec.encode(leaf), leaf, bare.picture.grad)
    torch.testing.assert_close(seen.picture.grad, expected, rtol=1e-10, atol=1e-12)
    assert expected.abs().max() > 1e-4
    assert all(p.grad is None for p in codec.parameters())


# --- injection ---


def test_the_gradient_is_the_field_in_every_precision_where_the_quadratic_form_loses_it():
    g = torch.Generator().manual_seed(0)
    for dtype in (torch.float16, torch.bfloat16):
        at = (100 + torch.rand(2, 50, generator=g)).to(dtype).requires_grad_()
        field = (1e-3 * torch.randn(2, 50, generator=g)).to(dtype)
        (exact,) = torch.autograd.grad(injection_loss(at, field, 1).sum(), at)
        assert exact.dtype == dtype and torch.equal(exact, field)
        lossy = (at - (at - field)).detach()
        assert (lossy == 0).all()  # what the surrogate would have given
    at = torch.randn(3, 4, requires_grad=True)
    field = torch.randn(3, 4, generator=g)
    (gradient,) = torch.autograd.grad(injection_loss(at, field, 1).mean(), at)
    torch.testing.assert_close(gradient, field / 3, rtol=1e-6, atol=0)


def test_a_float16_loss_scale_reaches_the_gradient_before_it_is_rounded():
    at, field = torch.zeros(1, 4, dtype=torch.float16, requires_grad=True), torch.full((1, 4), 1e-9)
    (injection_loss(at, field, 1).sum() * 2.0**16).backward()
    torch.testing.assert_close(at.grad.float(), torch.full((1, 4), 1e-9 * 2.0**16), rtol=1e-3, atol=0)


def test_clipping_limits_elements_or_the_norm_of_a_pixel():
    field = torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1)
    assert clip_field(field, 3.5).flatten().tolist() == [3.0, -3.5]
    torch.testing.assert_close(clip_field(field, 2.5, "pixel").flatten(), torch.tensor([1.5, -2.0]))
    assert torch.equal(clip_field(field, 5.0, "pixel"), field)
    assert not clip_field(torch.zeros(1, 2, 1, 1), 1.0, "pixel").isnan().any()
    x, eps = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    whole = fields(SDS(**options()), Guided(teacher_of(VP()), 50.0), x, 0.4, eps)
    clipped = fields(SDS(field={"clip": 0.5}, **options()), Guided(teacher_of(VP()), 50.0), x, 0.4, eps)
    assert whole.item() < -0.5 and clipped.item() == -0.5


def test_the_range_of_times_and_the_limit_follow_their_ramps():
    ramp = {"start": 0.98, "end": 0.5, "steps": 10}
    objective = SDS(times={"range": (0.02, ramp)}, field={"clip": {"start": 1e-2, "end": 1e-3, "steps": 10}})
    canvas = Canvas(torch.zeros(2, *EVENT, dtype=torch.float64))
    objective.setup(canvas, Guided(teacher_of(RectifiedFlow()), 5.0))
    seen = []
    objective.teacher.teacher.register_forward_hook(lambda m, args, out: seen.append(args[1].max().item()))
    for step, high, limit in ((0, 0.98, 1e-2), (5, 0.74, 5.5e-3), (99, 0.5, 1e-3)):
        rng = FixedDraws({"t": torch.ones(2, dtype=torch.float64), "eps": torch.zeros(2, *EVENT, dtype=torch.float64)})
        rng.step = step
        objective.zero_grad()
        objective.loss(GENERATOR, Batch(cond=torch.zeros(2, dtype=torch.int64)), rng).backward()
        assert seen[-1] == pytest.approx(high)
        assert (2 * canvas.picture.grad).abs().max().item() == pytest.approx(limit)
    with pytest.raises(ValueError, match="at step 10"):
        SDS(times={"range": (0.3, {"start": 0.9, "end": 0.2, "steps": 10})})
    with pytest.raises(ValueError, match="positive"):
        SDS(field={"clip": 0.0})


def test_the_mean_reduction_divides_by_the_elements_of_a_sample():
    event, eps = (3, 2, 2), torch.randn(2, 3, 2, 2, dtype=torch.float64)
    found = {}
    for reduction in ("sum", "mean"):
        objective, canvas = (
            SDS(field={"reduction": reduction}, **options()),
            Canvas(torch.zeros(2, *event, dtype=torch.float64)),
        )
        objective.setup(canvas, teacher_of(VP(), event=event))
        rng = FixedDraws({"t": torch.full((2,), 0.4, dtype=torch.float64), "eps": eps})
        objective.loss(GENERATOR, Batch(cond=torch.zeros(2, dtype=torch.int64)), rng).backward()
        found[reduction] = canvas.picture.grad
    torch.testing.assert_close(found["sum"], 12 * found["mean"])


def test_dmd2_sums_over_the_pixels_of_a_scene_and_averages_over_a_networks_sample():
    # penalties of a scene are weighed against a sum: a mean over thousands of pixels would leave them alone with it
    event, eps = (3, 2, 2), torch.randn(2, 3, 2, 2, dtype=torch.float64)
    draws = {"t": torch.full((2,), 0.4, dtype=torch.float64), "eps": eps, "noise": torch.ones_like(eps)}

    def gradient(generator, **chosen):
        objective = DMD2(field={"subtract": "noise", "normalise": None, **chosen}, **options())
        objective.setup(generator, teacher_of(VP(), event=event))
        rng = FixedDraws(draws)
        objective.loss(GENERATOR, Batch(cond=torch.zeros(2, dtype=torch.int64)), rng).backward()
        return next(p.grad for p in generator.parameters() if p.grad is not None)

    def scene():
        return Canvas(torch.zeros(2, *event, dtype=torch.float64))

    def network():
        return teacher_of(VP(), event=event).trainable_copy()

    for make, chosen in ((scene, "sum"), (network, "mean")):
        found = {reduction: gradient(make(), reduction=reduction) for reduction in ("sum", "mean", None)}
        torch.testing.assert_close(found[None], found[chosen])
        torch.testing.assert_close(found["sum"], 12 * found["mean"])
        assert float(found["mean"].abs().max()) > 1e-3


def test_penalties_of_a_scene_are_added_and_logged():
    canvas, objective = Canvas(torch.full((2, *EVENT), 0.5, dtype=torch.float64), penalty=0.1), SDS(**options())
    objective.setup(canvas, teacher_of(VP(), cond=0.5, std=1e-6))
    rng = FixedDraws(
        {"t": torch.full((2,), 0.4, dtype=torch.float64), "eps": torch.zeros(2, *EVENT, dtype=torch.float64)}
    )
    loss = objective.loss(GENERATOR, Batch(cond=torch.zeros(2, dtype=torch.int64)), rng)
    loss.backward()
    assert loss.terms["flatness"].item() == pytest.approx(0.025)
    torch.testing.assert_close(canvas.picture.grad.flatten(), torch.full((2,), 0.05, dtype=torch.float64))


# --- who is asked and who learns ---


def test_csd_asks_its_teacher_once_for_both_branches():
    calls = []
    teacher = teacher_of(VP())
    teacher.register_forward_hook(lambda m, args, out: calls.append(len(args[0])))
    fields(
        CSD(**options()),
        Guided(teacher, 5.0),
        torch.zeros(3, dtype=torch.float64),
        0.4,
        torch.zeros(3, dtype=torch.float64),
    )
    assert calls == [6]


def test_a_scene_and_its_critic_take_turns_and_the_teacher_gets_no_gradient():
    canvas, objective, teacher = Canvas(torch.zeros(4, *EVENT)), VSD(critic={"updates": 2}), teacher_of(VP())
    for parameter in teacher.parameters():
        parameter.requires_grad_(True)
    objective.setup(canvas, Guided(teacher, 2.0))
    assert [p.name for p in objective.phases(0)] == ["critic", "critic", "generator"]
    assert [p.name for p in SDS().phases(0)] == ["generator"]
    from limbeck.randomness import Rng

    for phase in (CRITIC, GENERATOR):
        objective.focus(phase)
        objective.zero_grad()
        objective.loss(phase, Batch(cond=torch.zeros(4, dtype=torch.int64)), Rng(0, 0, phase)).backward()
        for name, module in objective.roles().items():
            assert any(p.grad is not None for p in module.parameters()) == (name in phase.roles)
        assert all(p.grad is None for p in teacher.parameters())


def test_a_critic_of_a_fixed_cloud_learns_its_law():
    # a linear critic suffices: the closed-form predictor, off by its mean and width
    from limbeck.randomness import Rng

    g = torch.Generator().manual_seed(0)
    canvas = Canvas(0.4 + 0.8 * torch.randn(512, *EVENT, generator=g))
    objective = VSD()
    objective.setup(canvas, teacher_of(RectifiedFlow()))
    critic = objective.roles()["critic"].predictor
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    objective.focus(CRITIC)
    for step in range(300):
        objective.loss(CRITIC, Batch(cond=torch.zeros(512, dtype=torch.int64)), Rng(0, step, CRITIC)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert critic.means[0].item() == pytest.approx(canvas.picture.mean().item(), abs=0.06)
    assert abs(critic.factor.item()) == pytest.approx(canvas.picture.std().item(), abs=0.06)


# --- what bad input gets ---


def test_a_teacher_that_returns_nan_is_named():
    class Broken(GaussianTeacher):
        def forward(self, xt, t, cond=None, **asked):
            out = super().forward(xt, t, cond, **asked)
            out.x0_hat[0] = math.nan
            return out

    from limbeck.errors import LimbeckError

    teacher = Broken(VP(), torch.zeros(EVENT), torch.ones(EVENT), class_means=torch.ones(1, *EVENT))
    x = torch.zeros(3, dtype=torch.float64)
    for objective in (SDS(), CSD(), VSD(), ISM(), DMD2()):
        with pytest.raises(LimbeckError, match=r"teacher \(Broken\).*for 1 of 3 samples"):
            fields(objective, teacher, x, 0.4, x)


@pytest.mark.parametrize("cls", [SDS, CSD, VSD, ISM, DMD2])
def test_a_scene_of_another_size_is_refused_before_the_first_step(cls):
    with pytest.raises(ValueError, match=r"\(3, 4, 4\).*teacher.*\(1, 1, 1\).*resolution"):
        cls().setup(Canvas(torch.zeros(1, 3, 4, 4)), teacher_of(VP()))
    latent = GaussianTeacher(VP(), torch.zeros(2, 4, 4), torch.ones(2, 4, 4), space=Space((2, 4, 4), codec=TinyCodec()))
    with pytest.raises(ValueError, match=r"\(3, 16, 16\).*codec turns into \(2, 8, 8\)"):
        cls().setup(Canvas(torch.zeros(1, 3, 16, 16)), latent)


def test_a_missing_teacher_cameras_or_network_is_refused_with_the_hint():
    for cls in (SDS, ISM):
        with pytest.raises(ValueError, match=f"{cls.name} needs a teacher"):
            cls().setup(Canvas(torch.zeros(1, *EVENT)), None)
    with pytest.raises(TypeError, match=r"limbeck\.Scene"):
        SDS().setup(nn.Linear(1, 1), teacher_of(VP()))
    with pytest.raises(ValueError, match="one render"):
        SDS(rollout={"steps": 2}).setup(Canvas(torch.zeros(1, *EVENT)), teacher_of(VP()))
    with pytest.raises(ValueError, match="critic.init: teacher"):
        VSD(critic={"init": "generator"}).setup(Canvas(torch.zeros(1, *EVENT)), teacher_of(VP()))
    objective = SDS()
    objective.setup(Canvas(torch.zeros(1, *EVENT)), teacher_of(VP()))
    with pytest.raises(ValueError, match="cameras"):
        objective.loss(GENERATOR, Batch(weight=torch.ones(1)), FixedDraws({}))


def test_how_to_sample_follows_from_what_is_trained():
    for cls in (SDS, CSD, VSD, ISM, DMD2):
        objective = cls()
        assert objective.sampling() == {"use": "multistep", "steps": 1}
        objective.setup(Canvas(torch.zeros(1, *EVENT)), teacher_of(VP()))
        assert objective.sampling() == {"use": "orbit"}
        assert objective.default_source == "prior"


# --- few-step students ---


@pytest.mark.parametrize("spread", [0.3, 0.9])
def test_sds_on_a_one_step_student_pulls_its_mean_and_collapses_its_width(spread):
    # x = A + b z: E[G_x] = w k (A - m), E[G_x z] = w k b, which is never zero
    process, t = RectifiedFlow(), 0.4
    teacher, generator = GaussianTeacher(process, COND, STD), GaussianGenerator(process, 0.2, spread)
    objective = SDS(**options())
    objective.setup(generator, teacher)
    z, weight = gauss_hermite_batch(16, 2)
    rng = FixedDraws({"noise": z[:, :1], "eps": z[:, 1:], "t": torch.full((len(z),), t, dtype=torch.float64)})
    objective.loss(GENERATOR, Batch(x0=z[:, :1], weight=weight), rng).backward()
    a, s = coefficients(process, t)
    k = s**2 * a * s / (a**2 * STD**2 + s**2)
    assert generator.means.grad[-1].item() == pytest.approx(k * (0.2 - COND), rel=1e-6)
    assert generator.factor.grad.item() == pytest.approx(k * spread, rel=1e-6)


def test_vsd_on_a_one_step_student_is_dmd2_without_its_normaliser():
    process, found = VP(), []
    z, weight = gauss_hermite_batch(8, 2)
    for objective in (
        VSD(field={"weight": "x0", "reduction": "mean"}, **options()),
        DMD2(field={"normalise": None}, **options()),
    ):
        generator = GaussianGenerator(process, 0.2, 0.5)
        objective.setup(generator, GaussianTeacher(process, COND, STD))
        objective.roles()["critic"].predictor.load_state_dict(generator.denoiser().state_dict())
        draws = {"noise": z[:, :1], "eps": z[:, 1:], "t": torch.full((len(z),), 0.3, dtype=torch.float64)}
        objective.loss(GENERATOR, Batch(x0=z[:, :1], weight=weight), FixedDraws(draws)).backward()
        found.append((generator.means.grad[-1].item(), generator.factor.grad.item()))
    assert found[0] == found[1] and min(abs(v) for v in found[0]) > 1e-3


def test_a_critic_of_adapters_is_asked_of_the_teacher():
    asked = []

    class Adaptable(GaussianTeacher):
        def trainable_copy(self, mode="full", **more):
            asked.append((mode, more))
            return super().trainable_copy()

    teacher = Adaptable(VP(), full(0.0), full(1.0), class_means=full(1.0, 1))
    VSD(critic={"lora": {"rank": 4, "targets": ("to_q",)}}).setup(Canvas(full(0.0, 2)), Guided(teacher, 7.5))
    assert asked == [("lora", {"rank": 4, "alpha": 16.0, "dropout": 0.0, "targets": ("to_q",)})]


# --- the contract ---


class TestSDS(ObjectiveConformance):
    def make(self):
        return SDS(times={"range": (0.1, 0.9)})


class TestCSD(ObjectiveConformance):
    def make(self):
        return CSD(times={"range": (0.1, 0.9)})


class TestVSD(ObjectiveConformance):
    def make(self):
        return VSD(times={"range": (0.1, 0.9)})


class TestISM(ObjectiveConformance):
    def make(self):
        return ISM(times={"range": (0.1, 0.5)})
