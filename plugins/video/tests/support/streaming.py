"""A sampler that streams real clips, without a network."""

import torch
from torch import nn

from limbeck.interfaces import Sampler, Space
from limbeck_video.data.moving_digits import MovingDigits


class Model(nn.Module):
    space = Space((12, 1, 20, 20), domain="clip")


class Streams(Sampler):
    """Real clips, three frames at a time, brighter and brighter; counts what was requested."""

    def __init__(self, brighter=0.0, chunk=3):
        self.brighter, self.chunk, self.made, self.closed = brighter, chunk, 0, 0

    def stream(self, model, cond, *, steps, rng, frames=None, batch_size=None):
        rows = batch_size if batch_size is not None else len(cond)
        clips = MovingDigits("held_out", frames=90).batch(torch.arange(rows)).x0
        try:
            for start in range(0, 90, self.chunk):
                self.made += 1
                yield clips[:, start : start + self.chunk] + self.brighter * (start // 12)
        finally:
            self.closed += 1

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        raise AssertionError("a streaming sampler is streamed")
