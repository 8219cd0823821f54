"""Checks of what has a time axis: networks that take a time per frame or go on behind a cache, and samplers of clips.

Letters: B batch, F frames, the first event axis. Every check's docstring is what a plugin author reads when it fails.
"""

from typing import Any

import torch
from torch import Tensor

import limbeck
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing.causal import AR1, CausalToy
from limbeck.testing.conformance.inputs import ROWS, cast, close, nudge, predicted, predictor, states
from limbeck.testing.conformance.report import Case, Skip, check_for

# --- networks ---------------------------------------------------------------------------------------------------------


@check_for("teacher", "generator")
def a_time_per_frame_is_taken(case: Case) -> None:
    """ability `frame_time`: t of shape (B, F), frames the first event axis, with equal entries predicts as t of shape
    (B,); another time of one frame changes the prediction."""
    case.needs("frame_time")
    model = predictor(case)
    nudge(model, 0.05)  # a last layer of zeros would predict the same at every time
    xt, t, cond = states(model, case)
    times = t[:, None].repeat(1, xt.shape[1])
    with torch.no_grad():
        frames = predicted(model(xt, times, cond))
        close(frames, predicted(model(xt, t, cond)), "equal times per frame", rtol=1e-3, atol=1e-4)
        times[:, -1] *= 0.5
        assert not torch.allclose(predicted(model(xt, times, cond)), frames), (
            "the time of the last frame does not matter"
        )


@check_for("teacher", "generator")
def cached_calls_are_one_call_on_the_whole_clip(case: Case) -> None:
    """ability `cache`: chunk by chunk behind a cache, each chunk written, the predictions are those of one call on the
    whole clip (float64, 1e-10). `chunk` is how many frames see each other there; none sees a later chunk."""
    case.needs("cache")
    model = predictor(case).double()
    nudge(model, 0.05)
    xt, t, cond = states(model, case, dtype=torch.float64)
    frames, size, cond = xt.shape[1], model.chunk, cast(cond, torch.float64)
    if "frame_time" in case.can:
        t = t[:, None] * (0.5 + 0.5 * limbeck.rng(0).uniform("times", (ROWS, frames), torch.float64))
    cache = model.new_cache()
    parts = []
    with torch.no_grad():
        for start in range(0, frames, size):
            stop = min(start + size, frames)
            assert cache.start == start, f"the cache is at frame {cache.start}; {start} frames were written"
            time = t if t.ndim == 1 else t[:, start:stop]
            parts.append(predicted(model(xt[:, start:stop], time, cond, cache=cache, write=True)))
        whole = predicted(model(xt, t, cond))
    close(torch.cat(parts, 1), whole, "chunk by chunk and at once", rtol=0, atol=1e-10)


@check_for("teacher", "generator")
def a_cache_is_written_on_request_only(case: Case) -> None:
    """ability `cache`: reading leaves the cache as it was, writing moves it by the chunk's frames, and a window bounds
    what it holds; the frames that left it are not seen any more."""
    case.needs("cache")
    model = predictor(case)
    nudge(model, 0.05)
    xt, t, cond = states(model, case)
    size = model.chunk
    chunk, before = xt[:, :size], xt[:, :size].flip(0) + 0.5
    cache = model.new_cache(window=size)
    with torch.no_grad():
        alone = predicted(model(chunk, t, cond, cache=cache))
        assert cache.start == 0 and cache.frames == 0 and cache.bytes == 0, "a call without write=True wrote"
        model(before, t, cond, cache=cache, write=True)
        moment = cache.snapshot()
        first, again = (predicted(model(chunk, t, cond, cache=cache)) for _ in range(2))
        assert torch.equal(first, again), "called twice, a chunk has two predictions: reading changed something"
        now = cache.snapshot()
        assert (now.start, now.positions) == (moment.start, moment.positions), "reading moved the cache"
        assert not torch.allclose(first, alone), "the frames in the cache do not matter"
        held = cache.bytes
        for _ in range(3):
            model(chunk, t, cond, cache=cache, write=True)
        assert cache.start == 4 * size and cache.positions == tuple(range(3 * size, 4 * size)), f"it is {cache}"
        assert cache.bytes == held > 0, f"a window of {size} frames took {held} bytes and then {cache.bytes}"
        cache.restore(moment)
        assert torch.equal(predicted(model(chunk, t, cond, cache=cache)), first), (
            "a restored cache predicts differently"
        )


@check_for("teacher", "generator")
def a_write_that_begins_the_next_chunk_is_two_calls(case: Case) -> None:
    """ability `cache_ahead`: finished frames written and the next chunk predicted by one call with `ahead=`, each at a
    time of its own, are the same two calls one after the other (float64, 1e-10), and leave the same cache; also where
    a window lets go of frames in between."""
    case.needs("cache_ahead")
    model = predictor(case).double()
    nudge(model, 0.05)
    assert model.cache_ahead, "the ability cache_ahead is declared, but the predictor's cache_ahead is False"
    xt, t, cond = states(model, case, dtype=torch.float64)
    size, cond = model.chunk, cast(cond, torch.float64)
    old, done, new = (xt[:, :size].roll(k, 0) * (0.5 + 0.3 * k) for k in range(3))
    early, late = 0.1 * t, 0.9 * t
    per_frame = torch.cat([early[:, None].expand(-1, size), late[:, None].expand(-1, size)], 1)
    for window in (None, size):
        one, two = model.new_cache(window=window), model.new_cache(window=window)
        with torch.no_grad():
            for cache in (one, two):
                model(old, early, cond, cache=cache, write=True)
            both = predicted(model(torch.cat([done, new], 1), per_frame, cond, cache=one, write=True, ahead=size))
            first = predicted(model(done, early, cond, cache=two, write=True))
            second = predicted(model(new, late, cond, cache=two))
            close(both[:, :size], first, f"the written frames, window {window}", rtol=0, atol=1e-10)
            close(both[:, size:], second, f"the frames begun, window {window}", rtol=0, atol=1e-10)
            assert (one.start, one.positions) == (two.start, two.positions), f"{one}; after two calls {two}"
            then, expected = (predicted(model(old, late, cond, cache=cache)) for cache in (one, two))
            close(then, expected, f"the next chunk, window {window}", rtol=0, atol=1e-10)


# --- samplers ---------------------------------------------------------------------------------------------------------


def _clips(case: Case, chunk: int = 1) -> tuple[Any, AR1]:
    """The sampler, and an exact sequence of 6 frames that it can walk: causal when it works behind a cache."""
    return case.make(), AR1(RectifiedFlow(), (6, 2), correlation=0.8, causal="cache" in case.can, chunk=chunk).freeze()


@check_for("sampler")
def clips_follow_the_noise_and_the_rng(case: Case) -> None:
    """abilities `cache`, `frame_time`: on a causal generator, samples are finite clips (B, F, ...) without gradients,
    the same for the same rng; noise= stands for the draw named "noise"."""
    if not case.can & {"cache", "frame_time"}:
        raise Skip("does not declare 'cache' or 'frame_time'")
    sampler, model = case.make(), CausalToy(RectifiedFlow(), (6, 2), gain=0.6, carry=0.8, window=1)

    def walk(seed: int, **more: Any) -> Tensor:
        sample = sampler(model, None, steps=2, rng=limbeck.rng(seed), batch_size=ROWS, **more)
        assert sample.value.shape == (ROWS, 6, 2), f"shape {tuple(sample.value.shape)}, expected {(ROWS, 6, 2)}"
        assert bool(sample.value.isfinite().all()) and not sample.value.requires_grad, "not finite, or with a gradient"
        return sample.value

    first = walk(0)
    assert torch.equal(first, walk(0)) and not torch.equal(first, walk(1)), "the rng must decide"
    noise = limbeck.rng(0).normal("noise", (ROWS, 6, 2))
    assert torch.equal(first, walk(0, noise=noise)), "noise= is not the draw named 'noise'"
    assert not torch.allclose(first, walk(0, noise=-noise)), "noise= is ignored"


@check_for("sampler")
def levels_of_frames_fall_to_the_distribution_of_the_data(case: Case) -> None:
    """ability `frame_time`: with 60 steps the correlation of the sequence is met, and evaluations are counted."""
    case.needs("frame_time")
    sampler, model = _clips(case)
    calls: list[int] = []
    model.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    sample = sampler(model, None, steps=60, rng=limbeck.rng(0), batch_size=1000)
    assert sample.evaluations == sampler.evaluations(60) == len(calls), f"made {len(calls)} calls; {sample}"
    x = sample.value
    neighbours = float((x[:, 1:] * x[:, :-1]).mean())
    assert abs(neighbours - 0.8) < 0.1 and abs(float(x.var()) - 1) < 0.15, f"correlation {neighbours}, {float(x.var())}"


@check_for("sampler")
def a_stream_is_the_clip_chunk_by_chunk(case: Case) -> None:
    """ability `cache`: `stream` yields the same clip in chunks, goes on without an end, computes nothing ahead, and
    leaves gradient modes alone when it is stopped early."""
    case.needs("cache")
    sampler, model = _clips(case, chunk=2)
    noise = limbeck.rng(0).normal("noise", (ROWS, 6, 2))
    whole = sampler(model, None, steps=2, rng=limbeck.rng(0), batch_size=ROWS, noise=noise).value
    calls: list[int] = []
    model.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    chunks: list[Tensor] = []
    for chunk in sampler.stream(model, None, steps=2, rng=limbeck.rng(0), batch_size=ROWS, noise=noise):
        assert torch.is_grad_enabled(), "the sampler's gradient mode leaks to whoever takes the chunks"
        chunks.append(chunk)
        if len(chunks) == 1:
            assert len(calls) <= 3, f"{len(calls)} calls before the first chunk of two steps: it computes ahead"
        if len(chunks) == 5:
            break
    assert torch.is_grad_enabled()
    assert torch.equal(torch.cat(chunks[:3], 1), whole), "the stream is another clip"
