"""Diffusion forcing and the samplers of clips: a level per frame against the exact posterior of an AR(1) sequence."""

import pytest
import torch

from limbeck.interfaces import Batch, Phase, Space
from limbeck.networks.denoiser import Denoiser
from limbeck.networks.guidance import Guided
from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import Plan, rollout
from limbeck.testing import AR1, CausalNetwork, CausalToy, FixedDraws, GaussianTeacher, ar1_covariance
from limbeck_diffusion.formulas.times import clean_before
from limbeck_diffusion.objectives.pretraining.diffusion_forcing import DiffusionForcing
from limbeck_diffusion.samplers.gaussian import DDIM
from limbeck_diffusion.samplers.streaming import DiffusionForcingSampler, Streaming, schedule

FLOW = RectifiedFlow()
PHASE = Phase("generator", ("generator",))


# --- the posterior at any levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [FLOW, VP(), EDM(), TrigFlow(0.5)], ids=repr)
def test_the_exact_predictor_at_arbitrary_levels_is_the_conditional_mean(process):
    # two independent ways: Sigma A (A Sigma A + S)^-1 x, and the mode of the joint density, by its normal equations
    frames, rho, std = 4, 0.8, 1.3
    model = AR1(process, (frames, 2), correlation=rho, std=std, mean=0.3)
    x = Rng(0).normal("x", (3, frames, 2), torch.float64)
    t = process.t_max * (0.05 + 0.4 * Rng(0).uniform("t", (3, frames), torch.float64))
    got = model(x, t).x0_hat
    c = process.coefficients(t)
    sigma = ar1_covariance(torch.arange(frames), rho, std)
    for row in range(3):
        alpha, noise = torch.diag(c.alpha_t[row]), torch.diag(c.sigma_t[row] ** -2)
        normal = torch.linalg.inv(sigma) + alpha @ noise @ alpha
        expected = 0.3 + torch.linalg.solve(normal, alpha @ noise @ (x[row] - 0.3 * c.alpha_t[row][:, None]))
        torch.testing.assert_close(got[row].detach(), expected, rtol=1e-9, atol=1e-10)
    # and one time for all frames is what the Gaussian teacher predicts
    teacher = GaussianTeacher(
        process, torch.full((frames, 1), 0.3, dtype=torch.float64), covariance=sigma, space=Space((frames, 1))
    )
    same = model(x[:, :, :1], t[:, 0]).x0_hat
    torch.testing.assert_close(same.detach(), teacher(x[:, :, :1], t[:, 0]).x0_hat, rtol=1e-9, atol=1e-10)


def test_a_causal_posterior_looks_at_no_later_chunk_and_a_cached_one_is_the_same():
    model = AR1(FLOW, (6, 1), correlation=0.8, causal=True, chunk=2)
    x, t = Rng(0).normal("x", (3, 6, 1), torch.float64), Rng(0).uniform("t", (3, 6), torch.float64)
    other = x.clone()
    other[:, 4:] += 1
    a, b = model(x, t).x0_hat, model(other, t).x0_hat
    assert torch.equal(a[:, :4], b[:, :4]) and not torch.allclose(a[:, 4:], b[:, 4:])
    cache = model.new_cache()
    parts = [model(x[:, k : k + 2], t[:, k : k + 2], cache=cache, write=True).x0_hat for k in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts, 1), a, rtol=0, atol=1e-12)


# --- the objective ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", ["frame", "chunk", "clip"])
@pytest.mark.parametrize("error", ["x0", "velocity"])
def test_the_loss_of_the_exact_predictor_is_the_posterior_variance(levels, error):
    # E || x0_hat - x0 ||^2 given the levels is the diagonal of Sigma - Sigma A (A Sigma A + S)^-1 A Sigma
    frames, rho, rows = 4, 0.9, 40_000
    model = AR1(FLOW, (frames, 1), correlation=rho, chunk=2)
    objective = DiffusionForcing(levels=levels, error=error, times={"range": (0.2, 0.9)})
    objective.setup(model)
    teacher = GaussianTeacher(FLOW, torch.zeros(frames), covariance=ar1_covariance(torch.arange(frames), rho))
    x0 = teacher.sample(rows, Rng(0)).unsqueeze(-1)
    count = {"frame": frames, "chunk": 2, "clip": 1}[levels]
    u = torch.tensor([[0.1, 0.9, 0.4, 0.6], [0.3, 0.7, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]], dtype=torch.float64)
    u = u[["frame", "chunk", "clip"].index(levels)][:count]
    draws = FixedDraws({"t": u[0].expand(rows) if levels == "clip" else u.expand(rows, -1)}, otherwise=Rng(1))
    got = objective.loss(PHASE, Batch(x0=x0), draws).value.item()
    t = (0.2 + 0.7 * u).repeat_interleave(frames // count)
    sigma = ar1_covariance(torch.arange(frames), rho)
    alpha, noise = torch.diag(1 - t), torch.diag(t**2)
    variance = (sigma - sigma @ alpha @ torch.linalg.inv(alpha @ sigma @ alpha + noise) @ alpha @ sigma).diag()
    weight = torch.ones(frames) if error == "x0" else t**-2  # velocity: an error d in x0 is d / t
    assert got == pytest.approx(float((weight * variance).mean()), rel=0.02)


def test_every_frame_has_its_own_level_and_clean_ones_teach_nothing():
    objective = DiffusionForcing(clean_context=1.0, levels="chunk", chunk=2)
    objective.setup(AR1(FLOW, (6, 1), correlation=0.5, causal=True, chunk=1))
    t = objective.times(torch.zeros(2000, 6, 1), Rng(0))
    first = (t == 0).sum(1)
    assert set(first.tolist()) == {0, 2, 4}
    assert torch.equal(t == 0, torch.arange(6) < first[:, None])  # a clean past, never a clean future
    assert torch.equal(t[:, 0::2], t[:, 1::2]) and float(t[:, 4].unique().numel()) > 1900
    w = objective.weight(t)
    assert bool((w[t == 0] == 0).all()) and bool((w[t > 0] >= 1).all()) and bool(w.isfinite().all())
    assert clean_before(torch.ones(2, 3), torch.tensor([1, 0])).tolist() == [[0, 1, 1], [1, 1, 1]]
    free = DiffusionForcing()
    free.setup(AR1(FLOW, (6, 1), correlation=0.5))
    t = free.times(torch.zeros(1000, 6, 1), Rng(0))
    assert t.shape == (1000, 6)
    assert float(torch.corrcoef(t.T).fill_diagonal_(0).abs().max()) < 0.1


def test_one_level_per_clip_is_ordinary_denoising():
    from limbeck_diffusion.objectives.pretraining.denoising import Denoising

    losses = []
    for objective in (DiffusionForcing(levels="clip", error="velocity"), Denoising()):
        torch.manual_seed(0)
        objective.setup(Denoiser(CausalNetwork((4, 2), width=8), FLOW, Space((4, 2))))
        x0 = Rng(0).normal("x0", (5, 4, 2))
        draws = FixedDraws({"t": torch.linspace(0.1, 0.9, 5)}, otherwise=Rng(1))
        losses.append(objective.loss(PHASE, Batch(x0=x0), draws).value.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0] > 0.1


@pytest.mark.slow
def test_a_trained_causal_network_comes_close_to_the_exact_causal_posterior():
    frames, rho = 4, 0.9
    exact = AR1(FLOW, (frames, 1), correlation=rho, causal=True)
    teacher = GaussianTeacher(FLOW, torch.zeros(frames, 1), covariance=exact.covariance(frames).detach())
    torch.manual_seed(0)
    model = Denoiser(CausalNetwork((frames, 1), width=48, depth=2), FLOW, Space((frames, 1)))
    objective = DiffusionForcing(clean_context=0.5, error="x0")
    objective.setup(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(600):
        rng = Rng(0, step, PHASE)
        x0 = teacher.sample(256, rng, dtype=torch.float32).reshape(256, frames, 1)
        objective.loss(PHASE, Batch(x0=x0), rng).backward()
        optimizer.step()
        optimizer.zero_grad()
    rng = Rng(1)
    x0 = teacher.sample(2000, rng, dtype=torch.float32).reshape(2000, frames, 1)
    t = objective.times(x0, rng)
    xt = FLOW.add_noise(x0, rng.normal("eps", x0.shape), t)
    with torch.no_grad():
        weight = objective.weight(t)[..., None]
        errors = [float((weight * (m(xt, t).x0_hat - x0) ** 2).mean()) for m in (model, exact)]
    assert errors[0] < 1.1 * errors[1] and errors[1] > 0.05


# --- the scheduling matrix -------------------------------------------------------------------------------------------


def test_the_schedule_by_hand():
    assert schedule(3, 2, 0).tolist() == [[3, 3], [2, 2], [1, 1], [0, 0]]
    assert schedule(3, 3, 1).tolist() == [[3, 3, 3], [2, 3, 3], [1, 2, 3], [0, 1, 2], [0, 0, 1], [0, 0, 0]]
    assert schedule(2, 2, 2).tolist() == [[2, 2], [1, 2], [0, 2], [0, 1], [0, 0]]  # autoregressive: u = S
    assert schedule(2, 3, 0.5).tolist() == [[2, 2, 2], [1, 1, 2], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("steps, chunks, u", [(4, 5, 1), (3, 4, 3), (5, 3, 0.4), (1, 6, 0)])
def test_every_chunk_takes_every_step_once_and_in_order(steps, chunks, u):
    levels = schedule(steps, chunks, u)
    assert bool((levels[0] == steps).all()) and bool((levels[-1] == 0).all())
    falls = levels[:-1] - levels[1:]
    assert bool(((falls == 0) | (falls == 1)).all()) and falls.sum(0).tolist() == [steps] * chunks
    assert bool((levels[:, 1:] >= levels[:, :-1]).all())  # no chunk is ahead of the one before


@pytest.mark.parametrize("process", [FLOW, VP(), EDM(), TrigFlow(0.5)], ids=repr)
def test_no_lag_is_ddim_on_the_whole_clip(process):
    model = AR1(process, (4, 2), correlation=0.8).freeze()
    noise = process.prior_std * Rng(0).normal("noise", (3, 4, 2), torch.float64)
    got = DiffusionForcingSampler(uncertainty=0)(model, None, steps=5, rng=Rng(0), noise=noise)
    expected = DDIM()(model, None, steps=5, rng=Rng(0), noise=noise)
    torch.testing.assert_close(got.value, expected.value, rtol=1e-6, atol=1e-7)
    assert got.evaluations == 5


def test_one_after_the_other_is_streaming_with_the_exact_causal_denoiser():
    model = AR1(FLOW, (6, 1), correlation=0.8, causal=True, chunk=2).freeze()
    noise = Rng(0).normal("noise", (3, 6, 1), torch.float64)
    sampler = DiffusionForcingSampler(uncertainty="autoregressive")
    got = sampler(model, None, steps=4, rng=Rng(0), noise=noise)
    streamed = Streaming(transition="ddim")(model, None, steps=4, rng=Rng(0), noise=noise)
    torch.testing.assert_close(got.value, streamed.value, rtol=1e-6, atol=1e-7)
    assert got.evaluations == 12 == sampler.evaluations(4) and streamed.evaluations == 5


def test_a_pyramid_samples_the_sequence():
    # linear in the noise, so that the covariance is exact: with many steps that of the sequence, on both paths
    model = AR1(FLOW, (4, 1), correlation=0.8).freeze()
    noise = torch.eye(4, dtype=torch.float64)[:, :, None]
    for u in (1.0, 12.0):
        value = DiffusionForcingSampler(uncertainty=u)(model, None, steps=60, rng=Rng(0), noise=noise).value[..., 0]
        off = (value.T @ value - model.covariance(4)).abs().max()
        assert float(off) < 0.12, (u, off)


def test_finished_frames_may_be_shown_a_little_noise():
    seen = []
    model = CausalToy(FLOW, (2, 1), gain=0.5, carry=1.0)
    model.register_forward_pre_hook(lambda m, args: seen.append((args[0][0, 0, 0].item(), args[1][0].tolist())))
    noise = torch.tensor([[[1.0], [2.0]]], dtype=torch.float64)
    draws = FixedDraws({f"context/{m}": torch.full((1, 2, 1), 3.0, dtype=torch.float64) for m in range(2)})
    sampler = DiffusionForcingSampler(uncertainty="autoregressive", context_time=0.25)
    value = sampler(model, None, steps=1, rng=draws, noise=noise).value
    assert seen == [(1.0, [1.0, 1.0]), (0.75 * 1 + 0.25 * 3, [0.25, 1.0])]
    assert value.flatten().tolist() == [1.0, 0.5 * 2 + 1.5]  # the finished frame itself stays as it is


# --- streaming -------------------------------------------------------------------------------------------------------


def test_a_stream_is_the_sample_cut_into_chunks_and_goes_on_for_longer():
    torch.manual_seed(0)
    model = Denoiser(CausalNetwork((6, 2), width=16, classes=3, chunk=2), FLOW, Space((6, 2)), null=3)
    cond, noise = torch.tensor([0, 2]), Rng(0).normal("noise", (2, 6, 2))
    whole = Streaming(window=4)(model, cond, steps=3, rng=Rng(0), noise=noise)
    assert whole.value.shape == (2, 6, 2) and not whole.value.requires_grad and whole.evaluations == 4
    long = Streaming(window=4, frames=30)(model, cond, steps=3, rng=Rng(0), noise=noise)
    assert long.value.shape == (2, 30, 2) and torch.equal(long.value[:, :6], whole.value)
    chunks = list(Streaming(window=4).stream(model, cond, steps=3, rng=Rng(0), noise=noise, frames=30))
    assert len(chunks) == 15 and torch.equal(torch.cat(chunks, 1), long.value)
    assert not any(chunk.requires_grad for chunk in chunks)
    assert float(long.value.std(1).min()) > 0.01


def test_one_chunk_as_long_as_the_clip_is_the_multistep_sampler():
    torch.manual_seed(0)
    model = Denoiser(CausalNetwork((4, 2), width=16, chunk=4), FLOW, Space((4, 2)))
    noise = Rng(0).normal("noise", (3, 4, 2))
    times = (1.0, 0.5)
    draws = {"renoise/0/0": Rng(1).normal("e", (3, 4, 2))}
    streamed = Streaming(times=times)(model, None, steps=2, rng=FixedDraws(draws), noise=noise).value
    with torch.no_grad():
        whole = rollout(
            model, None, plan=Plan(times), rng=FixedDraws({"renoise/0": draws["renoise/0/0"]}), noise=noise, grad="none"
        )
    torch.testing.assert_close(streamed, whole.value, rtol=1e-5, atol=1e-6)


def test_a_guided_causal_teacher_streams_with_one_cache_for_both_branches():
    torch.manual_seed(0)
    model = Denoiser(CausalNetwork((4, 2), width=16, classes=3, chunk=2), FLOW, Space((4, 2)), null=3).double()
    cond, noise = torch.tensor([0, 2]), Rng(0).normal("noise", (2, 4, 2), torch.float64)
    guided = Streaming(transition="ddim")(Guided(model, 3.0), cond, steps=3, rng=Rng(0), noise=noise).value
    # by hand: two caches, two predictions, mixed
    caches = [model.new_cache() for _ in range(2)]
    conds = [cond, model.null(cond)]
    done = []
    with torch.no_grad():
        for k in range(2):
            x = noise[:, 2 * k : 2 * k + 2]
            for t, s in ((1.0, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0.0)):
                time = torch.full((2,), t, dtype=torch.float64)
                a, b = (model(x, time, c, cache=m).x0_hat for c, m in zip(conds, caches, strict=True))
                x0_hat = b + 3 * (a - b)
                x = FLOW.ddim(x, time, torch.full_like(time, s), x0_hat)
            for c, m in zip(conds, caches, strict=True):
                model(x0_hat, torch.zeros(2, dtype=torch.float64), c, cache=m, write=True)
            done.append(x0_hat)
    torch.testing.assert_close(guided, torch.cat(done, 1), rtol=1e-6, atol=1e-8)


def test_mistakes_are_named():
    bidirectional = AR1(FLOW, (4, 1), correlation=0.5)
    with pytest.raises(TypeError, match="AR1 carries no cache.*ability: cache.*diffusion_forcing"):
        Streaming()(bidirectional, None, steps=2, rng=Rng(0), batch_size=2)
    with pytest.raises(ValueError, match="5 frames are no whole number of chunks of 2"):
        causal = AR1(FLOW, (4, 1), correlation=0.5, causal=True, chunk=2)
        Streaming(frames=5)(causal, None, steps=2, rng=Rng(0), batch_size=2)
    with pytest.raises(ValueError, match="sampling.times gives 2 calls, but steps is 3"):
        Streaming(times=(1.0, 0.5))(causal, None, steps=3, rng=Rng(0), batch_size=2)
    with pytest.raises(ValueError, match="uncertainty is a lag in steps"):
        DiffusionForcingSampler(uncertainty=-1)
    with pytest.raises(ValueError, match="4 frames are no whole number of chunks of 3"):
        DiffusionForcing(levels="chunk", chunk=3).setup(bidirectional)
    with pytest.raises(ValueError, match="range is a range of t / t_max"):
        DiffusionForcing(times={"range": (0.5, 0.2)})


def test_a_recipe_that_streams_a_generator_without_a_cache_is_refused_before_anything_loads():
    from limbeck.errors import MissingAbility
    from limbeck.plugins.registry import registry
    from limbeck.recipe import check, load

    if "image/digits" not in [e.qualified for e in registry.components("generator")]:
        pytest.skip("limbeck-image, whose generator has no cache, is not installed")
    recipe = {"generator": {"use": "image/digits", "init": "random"}, "objective": "flow_matching"}
    recipe |= {"data": "image/digits", "sampling": {"use": "streaming", "steps": 4}}
    with pytest.raises(MissingAbility, match="sampler 'diffusion/streaming' walks generators with cache"):
        check(load(recipe))
