"""Sampling a student of tokens as it was trained: all of a sequence in one call
(`limbeck.sampling.rollouts.one_call`)."""

from typing import Any

import torch
from torch import Tensor

from limbeck.interfaces import unwrap
from limbeck.process.categorical import draw, probabilities
from limbeck.randomness import Rng
from limbeck.sampling.rollouts import token_start
from limbeck_diffusion.options.samplers import OneCallOptions
from limbeck_diffusion.samplers.categorical import TokenSampler, begin_with


class OneCall(TokenSampler):
    """Every token from one prediction at a start of masks and random tokens; none of the start is kept but a prompt.

    Draws: noise, random, token.
    """

    Options = OneCallOptions

    def __init__(self, **options: Any):
        self.options = OneCallOptions(**options)

    def path(self, predictor: Any, cond: Any, x: Tensor, *, steps: int, rng: Rng, prompt: Tensor | None):
        if steps != 1:
            raise ValueError(f"sampler one_call makes one call; got steps {steps}. Use ancestral for several")
        o, process = self.options, unwrap(predictor).process
        start = begin_with(token_start(process, tuple(x.shape), rng, o.random_tokens, x), prompt)
        t = torch.full((len(start),), float(process.t_max), device=start.device)
        p = probabilities(predictor(start, t, cond).logits, o.temperature, o.top_p)
        yield begin_with(draw(p, rng.uniform("token", tuple(x.shape), torch.float64)), prompt)
