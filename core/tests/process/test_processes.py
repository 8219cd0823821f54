"""Processes: conversions, derivatives, moves between schedules, per-frame time, singular ends."""

import itertools
import math

import pytest
import torch

from limbeck.process.gaussian import EDM, KINDS, VP, RectifiedFlow, TrigFlow, VPCosine, align, process_named
from limbeck.process.grids import time_grid

PROCESSES = [
    RectifiedFlow(), RectifiedFlow(shift=3.0), VP(), VP(beta_min=0.05, beta_max=12.0), VPCosine(), EDM(),
    EDM(sigma_max=10.0), TrigFlow(), TrigFlow(sigma_data=0.5),
]  # fmt: skip
every_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)


def inner_times(process, count=41):
    return torch.linspace(1e-3, process.t_max - 1e-3, count, dtype=torch.float64)


def state(process, t, seed=0, event=(3,)):
    g = torch.Generator().manual_seed(seed)
    x0, eps = (torch.randn(len(t), *event, generator=g, dtype=torch.float64) for _ in range(2))
    c = process.at(t, x0)
    true = {
        "x0": x0,
        "eps": eps,
        "v": c.alpha_t * eps - c.sigma_t * x0,
        "velocity": c.d_alpha_t * x0 + c.d_sigma_t * eps,
        "score": -eps / c.sigma_t,
    }
    return process.add_noise(x0, eps, t), true


def relative(a, b):
    return float((a - b).norm() / b.norm())


@every_process
@pytest.mark.parametrize(("given", "wanted"), list(itertools.product(KINDS, KINDS)))
def test_every_kind_converts_into_every_other_to_1e_10(process, given, wanted):
    t = inner_times(process)
    xt, true = state(process, t)
    for i in range(len(t)):  # per time, so that a large value at one time cannot hide an error at another
        row = slice(i, i + 1)
        got = process.convert(true[given][row], given, wanted, xt[row], t[row])
        assert relative(got, true[wanted][row]) < 1e-10, (given, wanted, float(t[i]))


@every_process
@pytest.mark.parametrize(("given", "wanted"), list(itertools.permutations(KINDS, 2)))
def test_conversion_round_trips_for_predictions_that_are_not_the_truth(process, given, wanted):
    t = inner_times(process)
    xt, true = state(process, t)
    prediction = 1.3 * true[given] + 0.1 * true[given].flip(-1)
    there = process.convert(prediction, given, wanted, xt, t)
    back = process.convert(there, wanted, given, xt, t)
    for i in range(len(t)):
        assert relative(back[i], prediction[i]) < 1e-10, float(t[i])


@every_process
def test_derivatives_of_the_schedule_match_autograd(process):
    t = inner_times(process).requires_grad_(True)
    c = process.coefficients(t)
    d_alpha = torch.autograd.grad(c.alpha_t.sum() + 0 * t.sum(), t, retain_graph=True)[0]
    d_sigma = torch.autograd.grad(c.sigma_t.sum(), t)[0]
    torch.testing.assert_close(c.d_alpha_t, d_alpha, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(c.d_sigma_t, d_sigma, rtol=1e-9, atol=1e-13)
    assert float(d_sigma.abs().min()) > 1e-8


@every_process
def test_time_is_the_inverse_of_sigma_edm(process):
    t = inner_times(process)
    torch.testing.assert_close(process.time(process.sigma_edm(t)), t, rtol=1e-10, atol=1e-13)
    assert float(process.sigma_edm(t)[20]) > 0.1


@every_process
def test_log_snr_falls_with_time_and_is_twice_its_half(process):
    t = inner_times(process)
    log_snr = process.log_snr(t)
    assert bool((log_snr.diff() < 0).all())
    torch.testing.assert_close(log_snr, 2 * process.half_log_snr(t))
    torch.testing.assert_close(torch.exp(-process.half_log_snr(t)), process.sigma_edm(t), rtol=1e-12, atol=0)


def test_schedules_have_the_values_of_their_papers():
    t = torch.tensor([0.25], dtype=torch.float64)

    def values(process):
        return [float(c) for c in process.coefficients(t)]

    assert values(RectifiedFlow(shift=5.0)) == pytest.approx([0.75, 0.25, -1, 1])  # the shift warps grids, not the path
    # VP: int_0^t beta = 0.1 * 0.25 + 19.9 * 0.25^2 / 2 = 0.646875; beta(0.25) = 5.075
    alpha = math.exp(-0.5 * 0.646875)
    sigma = math.sqrt(1 - alpha**2)
    assert values(VP()) == pytest.approx([alpha, sigma, -0.5 * 5.075 * alpha, 0.5 * 5.075 * alpha**2 / sigma])
    cos, sin = math.cos(math.pi / 8), math.sin(math.pi / 8)
    assert values(VPCosine()) == pytest.approx([cos, sin, -math.pi / 2 * sin, math.pi / 2 * cos])
    assert values(EDM()) == pytest.approx([1, 0.25, 0, 1])
    cos, sin = math.cos(0.25), math.sin(0.25)
    assert values(TrigFlow(sigma_data=0.5)) == pytest.approx([cos, 0.5 * sin, -sin, 0.5 * cos])


@pytest.mark.parametrize(
    ("process", "t_max", "prior_std"),
    [(RectifiedFlow(), 1, 1), (VP(), 1, math.sqrt(1 - math.exp(-10.05))), (VPCosine(), 1, 1), (EDM(), 80, 80),
     (EDM(sigma_max=10.0), 10, 10), (TrigFlow(0.5), math.pi / 2, 0.5)],
    ids=repr,
)  # fmt: skip
def test_prior_std_is_sigma_at_t_max(process, t_max, prior_std):
    assert process.t_max == pytest.approx(t_max)
    assert process.prior_std == pytest.approx(prior_std)


def test_v_equals_velocity_only_on_the_unit_trigonometric_path():
    def both(process):
        t = inner_times(process)
        xt, true = state(process, t)
        return process.convert(true["x0"], "x0", "v", xt, t), process.convert(true["x0"], "x0", "velocity", xt, t)

    v, velocity = both(TrigFlow())
    torch.testing.assert_close(v, velocity, rtol=1e-10, atol=1e-12)
    for process in (VPCosine(), RectifiedFlow(), VP(), EDM()):
        v, velocity = both(process)
        assert relative(v, velocity) > 0.1


# --- moves between schedules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), list(itertools.permutations(PROCESSES, 2)), ids=repr)
def test_moving_a_state_to_another_schedule_keeps_x0_and_eps(a, b):
    sigma = torch.logspace(-2, 0.9, 17, dtype=torch.float64)  # noise levels that every process reaches
    t = a.time(sigma)
    xt, true = state(a, t)
    moved, time = b.to(b, xt, t) if a is b else a.to(b, xt, t)
    torch.testing.assert_close(moved, b.add_noise(true["x0"], true["eps"], time), rtol=1e-10, atol=1e-12)
    back, again = b.to(a, moved, time)
    torch.testing.assert_close(again, t, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(back, xt, rtol=1e-10, atol=1e-12)


def test_moves_follow_the_published_formulas():
    sigma = torch.logspace(-2, 1, 9, dtype=torch.float64)
    x_edm, _ = state(EDM(), sigma)
    x, t = EDM().to(RectifiedFlow(), x_edm, sigma)  # t = sigma / (1 + sigma), x = (1 - t) x_edm
    torch.testing.assert_close(t, sigma / (1 + sigma))
    torch.testing.assert_close(x, align(1 - t, x_edm) * x_edm)
    x, t = EDM().to(TrigFlow(0.5), x_edm, sigma)  # t = atan(sigma / sigma_data), x = cos t x_edm
    torch.testing.assert_close(t, torch.atan(sigma / 0.5))
    torch.testing.assert_close(x, align(torch.cos(t), x_edm) * x_edm)
    t_rf = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    x_rf, _ = state(RectifiedFlow(), t_rf)
    x, t = RectifiedFlow().to(TrigFlow(), x_rf, t_rf)  # t_rf = sin t / (sin t + cos t), x_rf = x / (sin t + cos t)
    torch.testing.assert_close(t_rf, torch.sin(t) / (torch.sin(t) + torch.cos(t)))
    torch.testing.assert_close(x_rf, x / align(torch.sin(t) + torch.cos(t), x))
    x_vp, _ = state(VP(), t_rf)
    x, sigma = VP().to(EDM(), x_vp, t_rf)  # sigma = sqrt((1 - abar) / abar), x = x_vp / sqrt(abar)
    abar = VP().coefficients(t_rf).alpha_t ** 2
    torch.testing.assert_close(sigma, ((1 - abar) / abar).sqrt())
    torch.testing.assert_close(x, x_vp / align(abar.sqrt(), x_vp))


def test_a_flow_network_moved_to_trigflow_obeys_the_identity_of_sana_sprint():
    # x^ = x_trig / sigma_d, n = 1 / (sin t + cos t), t_fm = sin t / (sin t + cos t), x_fm = n x^:
    # F = [(1 - 2 t_fm) x_fm + (1 - 2 t_fm + 2 t_fm^2) v_fm] / n and dx_trig/dt = sigma_d F; trigflow data is sigma_d *
    # latent
    sigma_d = 0.5
    flow, trig = RectifiedFlow(), TrigFlow(sigma_data=sigma_d)
    t = inner_times(trig)
    x_trig, true = state(trig, t)
    n = align(1 / (torch.sin(t) + torch.cos(t)), x_trig)
    t_fm = torch.sin(t) / (torch.sin(t) + torch.cos(t))
    x_fm, w = x_trig / sigma_d * n, align(t_fm, x_trig)
    latent, eps = true["x0"] / sigma_d, true["eps"]
    torch.testing.assert_close(x_fm, flow.add_noise(latent, eps, t_fm), rtol=1e-11, atol=1e-12)
    v_fm = flow.convert(latent, "x0", "velocity", x_fm, t_fm)
    out = ((1 - 2 * w) * x_fm + (1 - 2 * w + 2 * w**2) * v_fm) / n
    torch.testing.assert_close(sigma_d * out, true["velocity"], rtol=1e-9, atol=1e-11)
    # the same through Process.to: rescale the latent, move, convert
    moved, time = TrigFlow().to(flow, x_trig / sigma_d, t)
    torch.testing.assert_close(time, t_fm, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(moved, x_fm, rtol=1e-11, atol=1e-12)
    assert float(out.abs().mean()) > 0.3


# --- per-frame time, corruption, steps -------------------------------------------------------------------------------


@every_process
def test_equal_times_per_frame_equal_one_time_per_sample(process):
    t = inner_times(process, 5)
    xt, true = state(process, t, event=(4, 3, 2))
    frames = t[:, None].expand(-1, 4)
    for wanted in KINDS:
        one = process.convert(true["x0"], "x0", wanted, xt, t)
        torch.testing.assert_close(process.convert(true["x0"], "x0", wanted, xt, frames), one, rtol=0, atol=0)
    torch.testing.assert_close(process.add_noise(true["x0"], true["eps"], frames), xt, rtol=0, atol=0)


@every_process
def test_every_frame_may_have_its_own_time(process):
    t = inner_times(process, 4)
    g = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(2, 4, 3, generator=g, dtype=torch.float64) for _ in range(2))
    xt = process.add_noise(x0, eps, t.expand(2, 4))
    for f in range(4):
        alone = process.add_noise(x0[:, f], eps[:, f], t[f].expand(2))
        torch.testing.assert_close(xt[:, f], alone, rtol=0, atol=0)


@every_process
def test_noising_further_has_the_variance_of_noising_at_once(process):
    # x_t given x0 through x_s: mean alpha_t x0; variance ratio^2 sigma_s^2 + sigma_{t|s}^2 = sigma_t^2
    t = inner_times(process, 9)
    s = t / 3
    x0 = torch.full((9, 1), 1.7, dtype=torch.float64)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    mean = process.noise_further(process.add_noise(x0, zero, s), s, t, zero)
    from_first = process.noise_further(process.add_noise(zero, one, s), s, t, zero)
    from_second = process.noise_further(zero, s, t, one)
    torch.testing.assert_close(mean, process.add_noise(x0, zero, t))
    torch.testing.assert_close((from_first**2 + from_second**2).sqrt()[:, 0], process.coefficients(t).sigma_t)
    assert float(from_second.min()) > 0


@every_process
def test_a_ddim_step_with_the_true_x0_lands_on_the_same_noise(process):
    t = torch.linspace(0.2, 1.0, 5, dtype=torch.float64) * process.t_max  # includes t_max, where alpha may vanish
    xt, true = state(process, t)
    s = t / 4
    torch.testing.assert_close(
        process.ddim(xt, t, s, true["x0"]), process.add_noise(true["x0"], true["eps"], s), rtol=1e-9, atol=1e-10
    )


def test_time_arithmetic_keeps_float32_under_a_half_precision_network():
    x0 = torch.ones(2, 3, dtype=torch.bfloat16)
    t = torch.tensor([0.501, 0.502])
    c = RectifiedFlow().at(t, x0)
    assert c.sigma_t.dtype == torch.bfloat16
    coarse = RectifiedFlow().at(t.bfloat16(), x0.float()).sigma_t  # times rounded before they came: that much is lost
    assert (
        float((RectifiedFlow().at(t, x0.float()).sigma_t[:, 0] - t).abs().max())
        == 0
        < float((coarse[:, 0] - t).abs().max())
    )


# --- singular ends ---------------------------------------------------------------------------------------------------


@every_process
def test_at_t_zero_noise_kinds_are_zero_and_x0_is_exact(process):
    t = torch.zeros(2, dtype=torch.float64)
    x = torch.tensor([[1.5], [-0.5]], dtype=torch.float64)
    assert torch.equal(process.convert(x, "x0", "eps", x, t), torch.zeros_like(x))
    assert torch.equal(process.convert(x, "x0", "score", x, t), torch.zeros_like(x))
    assert torch.equal(process.convert(torch.full_like(x, 9.0), "eps", "x0", x, t), x)
    assert torch.equal(process.convert(torch.full_like(x, 9.0), "v", "x0", x, t), x)


def test_x0_from_eps_is_nan_where_the_state_is_pure_noise():
    t = torch.ones(1, dtype=torch.float64)
    x = torch.tensor([[1.5]], dtype=torch.float64)
    for kind in ("eps", "score"):
        assert bool(RectifiedFlow().convert(x, kind, "x0", x, t).isnan().all())
    # a velocity still knows x0 there: x0 = x_t - t velocity
    assert float(
        RectifiedFlow().convert(torch.tensor([[1.1]], dtype=torch.float64), "velocity", "x0", x, t)
    ) == pytest.approx(0.4)


def test_infinite_noise_moves_to_the_end_of_every_finite_process():
    infinite = torch.tensor([math.inf], dtype=torch.float64)
    assert float(RectifiedFlow().time(infinite)) == 1
    assert float(TrigFlow(0.5).time(infinite)) == pytest.approx(math.pi / 2)
    assert float(VPCosine().time(infinite)) == pytest.approx(1)


@every_process
def test_float32_at_t_max_moves_to_the_noisy_end_of_another_process(process):
    xt, t = torch.ones(1, 2), torch.tensor([process.t_max])
    assert float(process.coefficients(t).alpha_t) >= 0
    _, time = process.to(RectifiedFlow(), xt, t)
    assert 0.9 < float(time) <= 1


def test_an_unknown_kind_is_refused_with_the_kinds_there_are():
    x, t = torch.ones(1, 1), torch.ones(1) / 2
    with pytest.raises(ValueError, match="unknown prediction 'epsilon'; allowed: x0, eps, v, velocity, score"):
        RectifiedFlow().convert(x, "epsilon", "x0", x, t)
    with pytest.raises(ValueError, match="unknown prediction 'flow'; allowed"):
        RectifiedFlow().convert(x, "x0", "flow", x, t)


# --- grids -----------------------------------------------------------------------------------------------------------


def test_uniform_grid_is_shifted_by_the_process():
    torch.testing.assert_close(time_grid(RectifiedFlow(), 4), torch.tensor([1, 0.75, 0.5, 0.25, 0]).double())
    # s t / (1 + (s - 1) t) at s = 3: 0.75 -> 0.9, 0.5 -> 0.75, 0.25 -> 0.5
    torch.testing.assert_close(time_grid(RectifiedFlow(shift=3.0), 4), torch.tensor([1, 0.9, 0.75, 0.5, 0]).double())
    torch.testing.assert_close(time_grid(EDM(), 2, t_min=0.002), torch.tensor([80, 40.001, 0.002]).double())


def test_karras_grid_follows_the_paper():
    grid = time_grid(EDM(), 5, "karras", rho=7.0)
    i = torch.arange(5, dtype=torch.float64)
    expected = (80 ** (1 / 7) + i / 4 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    torch.testing.assert_close(grid, torch.cat([expected, torch.zeros(1, dtype=torch.float64)]))


@pytest.mark.parametrize("spacing", ["uniform", "log_snr", "karras"])
@every_process
def test_every_grid_falls_strictly_from_t_max_to_t_min(process, spacing):
    grid = time_grid(process, 6, spacing)
    assert grid.shape == (7,) and float(grid[0]) == process.t_max and float(grid[-1]) == 0
    assert bool((grid.diff() < 0).all())


def test_log_snr_grid_is_even_in_log_snr():
    process = VP()
    grid = time_grid(process, 6, "log_snr", sigma_range=(0.01, 20.0))[1:-1]  # the ends are set to t_max and t_min
    steps = process.log_snr(grid).diff()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-9, atol=0)
    assert float(steps[0]) > 1


def test_grids_refuse_nonsense():
    with pytest.raises(ValueError, match="at least one step; got 0"):
        time_grid(EDM(), 0)
    with pytest.raises(ValueError, match="unknown spacing 'cubic'; allowed: uniform, log_snr, karras"):
        time_grid(EDM(), 3, "cubic")


def test_processes_have_names_that_recipes_use():
    assert process_named("rectified_flow", shift=3.0) == RectifiedFlow(shift=3.0)
    assert process_named("trigflow", sigma_data=0.5) == TrigFlow(sigma_data=0.5)
    assert [type(process_named(name)) for name in ("edm", "vp", "vp_cosine")] == [EDM, VP, VPCosine]
    with pytest.raises(ValueError, match="unknown process 'flow'; allowed: rectified_flow, trigflow, edm"):
        process_named("flow")
