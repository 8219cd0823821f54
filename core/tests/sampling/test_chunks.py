"""Chunked rollouts against full recomputation, closed forms, and a consumer that walks away."""

import gc
import weakref

import pytest
import torch

from limbeck.interfaces import Space
from limbeck.networks.cache import Cache
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng
from limbeck.sampling.chunks import chunk_stream, chunked_rollout, write_chunk
from limbeck.sampling.rollouts import Plan
from limbeck.testing import AR1, CausalNetwork, CausalToy, FixedDraws, GaussianTeacher, TinyNetwork

FLOW = RectifiedFlow()
PLAN = Plan((1.0, 0.7, 0.3))


def network(chunk=2, frames=6, window=None, prediction="velocity", process=FLOW):
    torch.manual_seed(0)
    net = CausalNetwork((frames, 3), width=16, classes=4, chunk=chunk, window=window).double()
    return Denoiser(net, process, Space((frames, 3)), prediction=prediction, null=4)


def rng(**draws):
    return Rng(3, step=5)


COND = torch.tensor([0, 3])


@pytest.mark.parametrize("window", [None, 2, 3])
@pytest.mark.parametrize("prediction", ["velocity", "edm"])
def test_a_cached_rollout_is_a_full_recomputation_under_the_causal_mask(window, prediction):
    # at every call, the whole clip so far goes through the network: clean frames at t = 0, the chunk at its own time
    model = network(window=window, prediction=prediction)
    noise = Rng(0).normal("x", (2, 6, 3), torch.float64)
    with torch.no_grad():
        cached = chunked_rollout(model, COND, plan=PLAN, rng=rng(), noise=noise).value
        done = noise[:, :0]
        for k in range(3):
            x = noise[:, 2 * k : 2 * k + 2]
            for i, t in enumerate(PLAN.times):
                times = torch.tensor([0.0] * 2 * k + [t] * 2, dtype=torch.float64).expand(2, -1)
                x0_hat = model(torch.cat([done, x], 1), times, COND).x0_hat[:, -2:]
                if i < 2:
                    eps = rng().normal(f"renoise/{k}/{i}", x.shape, torch.float64)
                    x = FLOW.add_noise(x0_hat, eps, torch.full((2,), PLAN.times[i + 1], dtype=torch.float64))
            done = torch.cat([done, x0_hat], 1)
    torch.testing.assert_close(cached, done, rtol=0, atol=1e-10)
    assert float(cached[:, 2:].std()) > 0.1


def test_the_noise_of_a_later_chunk_leaves_earlier_chunks_bit_identical():
    model = network()
    noise = Rng(0).normal("x", (2, 6, 3), torch.float64)
    other = noise.clone()
    other[:, 4:] += 1
    with torch.no_grad():
        a = chunked_rollout(model, COND, plan=PLAN, rng=rng(), noise=noise).value
        b = chunked_rollout(model, COND, plan=PLAN, rng=rng(), noise=other).value
    assert torch.equal(a[:, :4], b[:, :4]) and not torch.allclose(a[:, 4:], b[:, 4:])


def test_a_chunk_depends_on_the_seed_and_its_number_and_not_on_how_many_follow():
    model = network().float()
    with torch.no_grad():
        short = chunked_rollout(model, COND, plan=PLAN, rng=rng(), frames=4).value
        long = chunked_rollout(model, COND, plan=PLAN, rng=rng(), frames=20).value
    assert torch.equal(short, long[:, :4]) and long.shape == (2, 20, 3)
    stream = chunk_stream(model, COND, plan=PLAN, rng=rng())
    with torch.no_grad():
        endless = [next(stream) for _ in range(7)]
    assert torch.equal(torch.cat(endless, 1), long[:, :14])


def test_a_stream_goes_on_behind_a_cache_it_is_given():
    model = network().float()
    with torch.no_grad():
        whole = chunked_rollout(model, COND, plan=PLAN, rng=rng(), frames=12).value
        cache = model.new_cache()
        first = list(chunk_stream(model, COND, plan=PLAN, rng=rng(), frames=4, cache=cache))
        assert cache.start == 4  # the last chunk is written too: somebody holds the cache
        then = list(chunk_stream(model, COND, plan=PLAN, rng=rng(), frames=8, cache=cache))
    assert torch.equal(torch.cat([*first, *then], 1), whole)
    cache = Cache(2)
    with pytest.raises(ValueError, match="the cache holds 1 frames, which is no whole number of chunks of 2"):
        write_chunk(model, torch.zeros(2, 1, 3), COND, cache)
        chunk_stream(model, COND, plan=PLAN, rng=rng(), cache=cache)


class Separate(CausalToy):
    """The same without `ahead=`."""

    cache_ahead = False


@pytest.mark.parametrize(("grad", "calls"), [("none", 6), ("last", 6), ("all", 8)])
def test_a_chunk_is_written_by_the_next_ones_first_call_unless_that_one_learns(grad, calls):
    # three chunks of two calls; two chunks are written: by calls of their own, or by the first call of the next chunk
    noise = Rng(0).normal("x", (2, 6, 2), torch.float64)
    found = []
    for kind, expected in ((CausalToy, calls), (Separate, 8)):
        toy, frames = kind(FLOW, (6, 2), gain=0.5, carry=0.8, chunk=2, window=2), []
        toy.register_forward_pre_hook(lambda module, args, frames=frames: frames.append(args[0].shape[1]))
        value = chunked_rollout(
            toy, None, plan=Plan((1.0, 0.6)), rng=rng(), noise=noise, grad=grad, context_time=0.2
        ).value
        gradients = torch.autograd.grad(value.square().sum(), list(toy.parameters())) if grad != "none" else ()
        found.append((value.detach(), *gradients))
        assert (len(frames), sum(frames)) == (expected, 16)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


# --- gradients -------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_the_exit_call_with_the_context_detached():
    # x0_k = gain x_t + carry mean(context), two calls: x_t = 0.4 y_k + 0.6 eps_k with y_k = gain z_k + carry mean(...)
    toy = CausalToy(FLOW, (3, 1), first=0.9, gain=0.5, carry=0.8)
    z = torch.tensor([[[0.3], [-1.0], [2.0]]], dtype=torch.float64)
    eps = torch.tensor([0.2, 0.7, -0.4], dtype=torch.float64)
    draws = {f"renoise/{k}/0": eps[k].reshape(1, 1, 1) for k in range(3)}
    sample = chunked_rollout(toy, None, plan=Plan((1.0, 0.6)), rng=FixedDraws(draws), noise=z)
    assert sample.evaluations == 3 and sample.t_from == 0.6
    first, gain, carry = 0.9, 0.5, 0.8
    xt0 = 0.4 * first * 0.3 + 0.6 * 0.2
    x0 = first * xt0
    xt1 = 0.4 * (gain * -1.0 + carry * x0) + 0.6 * 0.7
    x1 = gain * xt1 + carry * x0
    mean = (x0 + x1) / 2
    xt2 = 0.4 * (gain * 2.0 + carry * mean) + 0.6 * -0.4
    x2 = gain * xt2 + carry * mean
    torch.testing.assert_close(sample.value.flatten(), torch.tensor([x0, x1, x2], dtype=torch.float64))
    weights = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    (sample.at.flatten() * weights).sum().backward()
    assert toy.first.grad.item() == pytest.approx(xt0)
    assert toy.gain.grad.item() == pytest.approx(10 * xt1 + 100 * xt2)
    assert toy.carry.grad.item() == pytest.approx(10 * x0 + 100 * mean)


@pytest.mark.parametrize("tail, learning", [(1, [2]), (2, [1, 2]), (3, [0, 1, 2]), (None, [0, 1, 2])])
def test_chunks_before_the_tail_carry_no_gradient(tail, learning):
    toy = CausalToy(FLOW, (6, 1), gain=0.5, carry=0.8, chunk=2)
    noise = Rng(0).normal("x", (1, 6, 1), torch.float64)
    frames_of_tail = None if tail is None else 2 * tail
    value = chunked_rollout(toy, None, plan=Plan((1.0,)), rng=rng(), noise=noise, tail=frames_of_tail).value
    for k in range(3):
        part = value[:, 2 * k : 2 * k + 2].sum()
        if not value.requires_grad:
            pytest.fail("nothing learns")
        grads = torch.autograd.grad(part, list(toy.parameters()), retain_graph=True, allow_unused=True)
        moved = any(g is not None and float(g.abs().sum()) > 0 for g in grads)
        assert moved is (k in learning)


def saved_bytes(function):
    """Memory that autograd keeps while a function runs, every storage counted once."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(kept.values())


def test_the_memory_of_training_depends_on_the_tail_and_not_on_the_length():
    model = network(window=4).float()

    def step(frames, tail):
        return lambda: chunked_rollout(model, COND, plan=PLAN, rng=rng(), frames=frames, tail=tail).value

    short, long = saved_bytes(step(12, 4)), saved_bytes(step(96, 4))
    assert long <= 1.05 * short  # what is kept of the tail; nothing of the 84 frames before
    assert saved_bytes(step(12, 12)) > 1.5 * short  # and a longer tail would have been noticed
    # nor on the number of calls before the exit
    more = Plan(tuple(1 - k / 40 for k in range(40)))
    forty = saved_bytes(lambda: chunked_rollout(model, COND, plan=more, rng=rng(), frames=12, tail=4).value)
    assert forty <= 1.05 * short


def test_the_memory_of_streaming_is_that_of_the_window():
    model = network(window=4).float()
    cache = model.new_cache()
    stream = chunk_stream(model, COND, plan=PLAN, rng=rng(), cache=cache)
    sizes = []
    with torch.no_grad():
        for _ in range(40):
            next(stream)
            sizes.append(cache.bytes)
    assert sizes[3:] == [sizes[3]] * 37 and sizes[3] > 0
    with torch.no_grad():
        refs = [weakref.ref(next(stream)) for _ in range(3)]
    assert [ref() is None for ref in refs] == [True, True, False]  # only the chunk in hand


def test_the_context_may_be_noised():
    toy = CausalToy(FLOW, (2, 1), first=1.0, gain=0.5, carry=1.0)
    z = torch.tensor([[[1.0], [2.0]]], dtype=torch.float64)
    draws = FixedDraws({"context/0": torch.full((1, 1, 1), 3.0, dtype=torch.float64)})
    value = chunked_rollout(toy, None, plan=Plan((1.0,)), rng=draws, noise=z, context_time=0.25).value
    assert value.flatten().tolist() == pytest.approx([1.0, 0.5 * 2 + (0.75 * 1 + 0.25 * 3)])


# --- a consumer that stops early --------------------------------------------------------------------------------------


def test_a_consumer_that_stops_early_leaves_nothing_behind():
    model = network().float()
    global_state = torch.get_rng_state()
    made = []
    real = model.new_cache
    model.new_cache = lambda *a, **k: made.append(weakref.ref(c := real(*a, **k))) or c
    modes = [m.training for m in model.modules()]
    for chunk in chunk_stream(model, COND, plan=PLAN, rng=rng()):
        assert torch.is_grad_enabled()  # the consumer's own mode, not the rollout's
        assert not chunk.requires_grad
        break
    stream = chunk_stream(model, COND, plan=PLAN, rng=rng())
    next(stream)
    with torch.no_grad():
        next(stream)
        stream.close()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    del stream
    gc.collect()
    assert len(made) == 2 and all(ref() is None for ref in made)
    assert torch.equal(global_state, torch.get_rng_state()) and modes == [m.training for m in model.modules()]
    assert all(p.grad is None for p in model.parameters())


def test_nothing_is_computed_ahead():
    model = network().float()
    calls = []
    model.network.register_forward_pre_hook(lambda m, args, kwargs: calls.append(kwargs["write"]), with_kwargs=True)
    stream = chunk_stream(model, COND, plan=PLAN, rng=rng())
    assert calls == []
    next(stream)
    assert calls == [False] * 3
    next(stream)
    assert calls == [False] * 3 + [True] + [False] * 3
    calls.clear()
    list(chunk_stream(model, COND, plan=PLAN, rng=rng(), frames=4))
    assert calls == [False] * 3 + [True] + [False] * 3  # nobody reads the last chunk's cache


# --- closed form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [FLOW, EDM()], ids=repr)
@pytest.mark.parametrize("window", [None, 1])
def test_streaming_the_exact_causal_denoiser_gives_the_sequence_up_to_the_error_of_the_solver(process, window):
    # given frame k - 1, frame k is N(rho x, v): a linear step for every call, whose product P is known. From
    # deviations y at t_max, x_k = rho x_{k-1} (1 - alpha P) + P z_k, exactly, for any number of calls
    frames, rho, std, steps = 4, 0.8, 1.3, 6
    exact = AR1(process, (frames, 1), correlation=rho, std=std, causal=True, chunk=1).freeze()
    noise = process.prior_std * torch.eye(frames, dtype=torch.float64)[:, :, None]
    times = time_grid(process, steps, process.spacing)
    plan = Plan(tuple(times[:-1].tolist()), transition="ddim")
    value = chunked_rollout(exact, None, plan=plan, rng=rng(), noise=noise, grad="none", window=window).value[:, :, 0]

    def product(variance):
        c = process.coefficients(times)
        share = c.alpha_t * variance / (c.alpha_t**2 * variance + c.sigma_t**2)  # x0_hat - m = share y
        ratio = c.sigma_t[1:] / c.sigma_t[:-1]
        return float((ratio + (c.alpha_t[1:] - ratio * c.alpha_t[:-1]) * share[:-1]).prod())

    alpha = float(process.coefficients(times[:1]).alpha_t)
    gain = product(std**2 * (1 - rho**2))
    expected = torch.zeros(frames, frames, dtype=torch.float64)
    expected[0, 0] = product(std**2) * process.prior_std
    for k in range(1, frames):
        expected[:, k] = rho * (1 - alpha * gain) * expected[:, k - 1]
        expected[k, k] += gain * process.prior_std
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)


def test_mistakes_are_named():
    model = network()
    with pytest.raises(ValueError, match="7 frames are no whole number of chunks of 2"):
        chunk_stream(model, COND, plan=PLAN, rng=rng(), frames=7)
    with pytest.raises(ValueError, match="6 frames are no whole number of chunks of 4"):
        chunked_rollout(model, COND, plan=PLAN, rng=rng(), chunk=4)
    with pytest.raises(ValueError, match="2 frames are no whole number of chunks of 4"):
        chunked_rollout(model, COND, plan=PLAN, rng=rng(), chunk=4, frames=2)
    with pytest.raises(ValueError, match="how many samples"):
        chunk_stream(model, None, plan=PLAN, rng=rng())
    with pytest.raises(ValueError, match="tail=2 counts frames from the end"):
        chunk_stream(model, COND, plan=PLAN, rng=rng(), tail=2)
    with pytest.raises(ValueError, match="tail=1 is less than a chunk of 2 frames: nothing would learn"):
        chunk_stream(model, COND, plan=PLAN, rng=rng(), frames=6, tail=1)
    with pytest.raises(TypeError, match="Denoiser carries no cache.*diffusion_forcing"):
        chunk_stream(Denoiser(TinyNetwork((2, 1)), FLOW, Space((2, 1))), None, plan=PLAN, rng=rng(), batch_size=1)
    with pytest.raises(TypeError, match="carries no cache"):
        GaussianTeacher(FLOW, torch.zeros(2, 1), 1.0).new_cache()
    with pytest.raises(ValueError, match="the given noise ends within a chunk: 3 frames, chunks of 2"):
        list(chunk_stream(model, COND, plan=PLAN, rng=rng(), noise=torch.zeros(2, 3, 3).double()))

    class Forgets(CausalToy):
        def forward(self, xt, t, cond=None, *, cache=None, write=False, **asks):
            return super().forward(xt, t, cond, cache=cache, write=False, **asks)

    with pytest.raises(RuntimeError, match="took the cache from frame 0 to 0; expected 1"):
        chunked_rollout(Forgets(FLOW, (2, 1)), None, plan=PLAN, rng=rng(), batch_size=1)
