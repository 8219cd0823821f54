"""Sound against the clock."""

import time
from types import SimpleNamespace

import torch

from limbeck.interfaces import Codec, Sample, Sampler, Space
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing import GaussianTeacher
from limbeck_audio.metrics.real_time import RealTimeFactor
from limbeck_audio.signal.mel import CLIP, RATE


class Sleeper(Sampler):
    """Takes 10 ms for every step."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        time.sleep(0.01 * steps)
        return Sample(value=noise, at=noise, t_from=1.0, t_to=0.0, evaluations=steps)


class SlowCodec(Codec):
    def decode(self, value):
        time.sleep(0.03)
        return value


def test_real_time_factor_counts_the_network_and_the_vocoder():
    space = Space((1, 64, 64), domain="mel", codec=SlowCodec())
    teacher = GaussianTeacher(RectifiedFlow(), torch.zeros(1, 64, 64), 1.0, space=space)
    reference = SimpleNamespace(conditions=lambda count, rng: None)
    found = RealTimeFactor(batch=2, repeats=2)(teacher, None, reference, sampler=Sleeper(), steps=4)
    seconds = 2 * CLIP / RATE  # two clips at once
    assert 0.04 / seconds <= found["real_time_factor_network"] < 0.4 / seconds  # a busy machine sleeps longer
    beyond = (found["real_time_factor"] - found["real_time_factor_network"]) * seconds
    assert 0.03 <= beyond < 0.3
    assert RealTimeFactor()(teacher, None, reference) == {}
    assert RealTimeFactor.samples
