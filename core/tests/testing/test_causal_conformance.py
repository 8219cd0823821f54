"""The kit on causal generators and samplers of clips: what is right passes, what is wrong is caught."""

import pytest
import torch

from limbeck.interfaces import Prediction, Sample
from limbeck.process.gaussian import EDM, RectifiedFlow
from limbeck.testing import AR1, CausalToy, GeneratorConformance, TeacherConformance, check
from limbeck.testing.conformance.objectives import toy_causal

FLOW = RectifiedFlow()
CLIPS = {"gaussian", "denoiser", "frame_time", "cache"}


class TestCausalAR1(TeacherConformance):
    can = CLIPS | {"trainable_copy"}

    def make(self):
        return AR1(EDM(), (6, 2), correlation=0.8, causal=True, chunk=2).freeze()


class TestBidirectionalAR1(TeacherConformance):
    can = CLIPS - {"cache"} | {"trainable_copy"}

    def make(self):
        return AR1(FLOW, (6, 2), correlation=0.8).freeze()


class TestCausalToy(GeneratorConformance):
    can = {"gaussian", "denoiser", "cache", "cache_ahead", "sampling", "trainable_copy"}

    def make(self):
        return CausalToy(FLOW, (6, 2), gain=0.5, carry=0.4, chunk=2)


class TestCausalNetwork(GeneratorConformance):
    can = CLIPS | {"features", "trainable_copy", "null_condition", "sampling"}

    def make(self):
        return toy_causal(0, (4, 2))

    def conditions(self, n):
        return torch.arange(n) % 3


class Wrong(CausalToy):
    """A causal generator with one thing wrong."""

    def __init__(self, wrong):
        super().__init__(FLOW, (6, 2), gain=0.5, carry=0.4, chunk=2)
        self.wrong = wrong

    def forward(self, xt, t, cond=None, *, s=None, features=(), cache=None, write=False, ahead=0):
        match self.wrong:
            case "writes what it only began" if ahead:
                return super().forward(xt, t, cond, cache=cache, write=True)
            case "begins before it wrote" if ahead:
                begun = super().forward(xt[:, -ahead:], t, cond, cache=cache).x0_hat
                out = super().forward(xt, t, cond, cache=cache, write=True, ahead=ahead)
                return Prediction(x0_hat=torch.cat([out.x0_hat[:, :-ahead], begun], 1))
            case "always writes":
                write = cache is not None
            case "never writes":
                write = False
            case "sees the future" if cache is None:
                xt = xt + 0.1 * xt.mean(1, keepdim=True)
            case "deaf to the cache" if cache is not None:
                out = super().forward(xt, t, cond)
                if write:
                    super().forward(xt, t, cond, cache=cache, write=True)
                return out
            case "hidden state" if cache is not None:
                self.memory = xt.mean() if write else getattr(self, "memory", 0.0) * 0.5
                return super().forward(xt + 0.1 * self.memory, t, cond, cache=cache, write=write)
        return super().forward(xt, t, cond, cache=cache, write=write, ahead=ahead)

    def new_cache(self, window=None, sink=0, tag="cond"):
        return super().new_cache(None if self.wrong == "no window" else window, sink, tag)


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("always writes", "a_cache_is_written_on_request_only"),
        ("never writes", "cached_calls_are_one_call_on_the_whole_clip"),
        ("sees the future", "cached_calls_are_one_call_on_the_whole_clip"),
        ("deaf to the cache", "cached_calls_are_one_call_on_the_whole_clip"),
        ("deaf to the cache", "a_cache_is_written_on_request_only"),
        ("hidden state", "a_cache_is_written_on_request_only"),
        ("no window", "a_cache_is_written_on_request_only"),
        ("writes what it only began", "a_write_that_begins_the_next_chunk_is_two_calls"),
        ("begins before it wrote", "a_write_that_begins_the_next_chunk_is_two_calls"),
    ],
)
def test_a_broken_causal_generator_is_caught(wrong, caught_by):
    report = check(lambda: Wrong(wrong), "generator", can={"gaussian", "denoiser", "cache", "cache_ahead"})
    assert caught_by in report.failures, str(report)


def test_one_without_a_cache_is_caught_where_it_declares_one():
    report = check(lambda: AR1(FLOW, (4, 1), correlation=0.5), "generator", can=CLIPS)
    assert "cached_calls_are_one_call_on_the_whole_clip" in report.failures, str(report)


def test_a_network_that_ignores_the_times_of_its_frames_is_caught():
    class Deaf(AR1):
        def forward(self, xt, t, cond=None, **asks):
            return super().forward(xt, t if t.ndim == 1 else t[:, 0], cond, **asks)

    report = check(lambda: Deaf(FLOW, (4, 1), correlation=0.5), "generator", can=CLIPS - {"cache"})
    assert "a_time_per_frame_is_taken" in report.failures, str(report)


class BadStreaming:
    """A sampler of clips with one thing wrong, around a rollout that is right."""

    def __new__(cls, wrong):
        from limbeck.interfaces import Sampler
        from limbeck.sampling.chunks import chunk_stream, chunked_rollout
        from limbeck.sampling.rollouts import Plan

        class Bad(Sampler):
            def how(self, steps):
                return {"plan": Plan.uniform(FLOW, steps)}

            def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
                if noise is None:
                    noise = rng.normal("noise", (batch_size, 6, 2))
                noise = rng.normal("noise", noise.shape) if wrong == "noise" else noise
                out = chunked_rollout(predictor, cond, rng=rng, noise=noise, grad="none", **self.how(steps)).value
                return Sample(out[:, :4] if wrong == "shape" else out, out, 1.0, 0.0, steps + 1)

            def stream(self, predictor, cond, *, steps, rng, frames=None, batch_size=None, noise=None):
                if wrong == "leak":
                    torch.set_grad_enabled(False)
                stream = chunk_stream(predictor, cond, rng=rng, noise=noise, frames=frames, **self.how(steps))
                if wrong == "ahead":
                    yield from [next(stream) for _ in range(5)]
                yield from stream

        return Bad()


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        ("noise", "clips_follow_the_noise_and_the_rng"),
        ("shape", "clips_follow_the_noise_and_the_rng"),
        ("leak", "a_stream_is_the_clip_chunk_by_chunk"),
        ("ahead", "a_stream_is_the_clip_chunk_by_chunk"),
    ],
)
def test_a_broken_stream_is_caught(wrong, caught_by):
    with torch.enable_grad():
        try:
            report = check(lambda: BadStreaming(wrong), "sampler", can={"cache"})
        finally:
            torch.set_grad_enabled(True)
    assert caught_by in report.failures, str(report)
    assert check(lambda: BadStreaming("nothing"), "sampler", can={"cache"})
