"""Speeds are a clock's."""

import pytest
import torch
from streaming import Streams
from torch import nn

from limbeck.interfaces import Sampler, Space
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.metrics import speed
from limbeck_video.metrics.speed import StreamingSpeed


class Clock:
    """Time passes only where it is set to."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


class Slow(nn.Module):
    def __init__(self, clock, decode):
        super().__init__()

        class Decoder(nn.Module):
            def decode(self, value):
                clock.now += decode * value.shape[1]
                return value

        self.space = Space((12, 1, 20, 20), domain="clip", codec=Decoder())


def test_frames_per_second_and_the_first_frame_with_and_without_decoding(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)

    class Chunks(Streams):
        def stream(self, *args, **kwargs):
            for chunk in super().stream(*args, **kwargs):
                clock.now += 0.25  # a chunk of three frames takes a quarter of a second
                yield chunk

    class Whole(Sampler):
        def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
            clock.now += 3.0
            return type("S", (), {"value": torch.zeros(1, 12, 1, 20, 20)})()

    model = Slow(clock, decode=0.05)
    metric = StreamingSpeed(frames=24, repeats=2)
    streamed = metric(model, None, MovingDigits(), sampler=Chunks(), steps=4)
    assert streamed["frames_per_second_undecoded"] == pytest.approx(3 / 0.25)
    assert streamed["first_frame_ms_undecoded"] == pytest.approx(250)
    assert streamed["frames_per_second"] == pytest.approx(3 / 0.4)
    assert streamed["first_frame_ms"] == pytest.approx(400)
    whole = metric(model, None, MovingDigits(), sampler=Whole(), steps=4)
    assert whole["frames_per_second_undecoded"] == pytest.approx(4.0)
    assert whole["first_frame_ms"] == pytest.approx(3600), "a whole clip shows its first frame when it is done"
