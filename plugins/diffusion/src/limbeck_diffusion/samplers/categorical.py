r"""Samplers of tokens: from masks, or from uniform noise, to text.

They need a predictor's logits only. A condition that is a tensor of tokens (B, P) is a prompt: the first P positions
are set to it and stay so; the predictor is given it too, and a model without conditions does not read it. Letters: B
batch, L sequence, V vocabulary, P prompt.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.interfaces import Sample, Sampler, Teacher, unwrap
from limbeck.process.categorical import CategoricalProcess, MaskedProcess, draw, probabilities
from limbeck.randomness import Rng
from limbeck_diffusion.options.samplers import AncestralOptions, ConfidenceOptions

# --- one step --------------------------------------------------------------------------------------------------------


def shares(count: Tensor, steps: int, step: int) -> Tensor:
    """How many of `count` (B,) tokens are lifted in a step (from 0) so that all are after `steps`: even, the larger
    shares first; (B,)."""
    return count // steps + (step < count % steps)


def keep_confident(xt: Tensor, tokens: Tensor, score: Tensor, quota: Tensor, mask_id: int) -> Tensor:
    """x_t with its `quota` (B,) best scored masks lifted to `tokens`; all (B, L) but the quota."""
    hidden = xt.eq(mask_id)
    order = torch.where(hidden, score, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(xt.shape[1], device=xt.device).expand_as(order))
    return torch.where(hidden & (rank < quota.unsqueeze(1)), tokens, xt)


# --- prompts ---------------------------------------------------------------------------------------------------------


def prompt_of(cond: Any) -> Tensor | None:
    """The prompt among conditions, (B, P) int64: a tensor of tokens, or what `Conditions` call `prompt`."""
    found = cond.get("prompt") if isinstance(cond, Conditions) else cond
    if isinstance(found, Tensor) and found.ndim == 2 and not found.is_floating_point():
        return found
    return None


def check_prompt(prompt: Tensor, process: CategoricalProcess, length: int) -> None:
    """Room for at least one token behind the prompt, and no token that the model does not know."""
    size = prompt.shape[1]
    if size == 0:
        raise ValueError("the prompt is empty: give it at least one token, or sample without a condition (cond=None)")
    if size >= length:
        raise ValueError(f"a prompt of {size} tokens fills the context of {length}: use at most {length - 1}")
    low, high = int(prompt.min()), int(prompt.max())
    if low < 0 or high >= process.vocab:
        raise ValueError(
            f"the prompt has token {low if low < 0 else high}; the model knows 0 to {process.vocab - 1}. Encode the "
            "prompt with the model's own tokenizer"
        )


# --- whole walks -----------------------------------------------------------------------------------------------------


class TokenSampler(Sampler, ABC):
    """A walk of `steps` predictions, prompt kept. Subclasses draw the next tokens from a prediction (`path`)."""

    @abstractmethod
    def path(
        self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng, prompt: Tensor | None
    ) -> Iterator[Tensor]:
        """x after every step, (B, L) each."""

    def states(
        self,
        predictor: Teacher,
        cond: Any,
        *,
        steps: int,
        rng: Rng,
        batch_size: int | None = None,
        noise: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Every state of the walk, (B, L): the noise with its prompt first, the sample last."""
        spec: Any = unwrap(predictor)
        process = spec.process
        if not isinstance(process, CategoricalProcess):
            raise TypeError(
                f"sampler {type(self).__name__} walks tokens, but {type(spec).__name__} lives on {process}. "
                "Use heun, ddim or another sampler of continuous noise"
            )
        if steps < 1:
            raise ValueError(f"a walk has at least one step; got {steps}")
        if noise is None:
            noise = self.start(predictor, cond, batch_size, rng)
        prompt = prompt_of(cond)
        if prompt is not None:
            check_prompt(prompt, process, noise.shape[1])
        x = begin_with(noise, prompt)
        yield x
        with torch.no_grad():
            yield from self.path(predictor, cond, x, steps=steps, rng=rng, prompt=prompt)

    def walk(self, predictor: Teacher, cond: Any, x: Tensor, *, steps: int, rng: Rng) -> Sample:
        (x,) = deque(self.states(predictor, cond, steps=steps, rng=rng, noise=x), maxlen=1)
        return Sample(value=x, at=x, t_from=1.0 / steps, t_to=0.0, evaluations=steps)


def begin_with(x: Tensor, prompt: Tensor | None) -> Tensor:
    """x (B, L) with the prompt (B, P) in its first positions."""
    return x if prompt is None else torch.cat([prompt.to(x), x[:, prompt.shape[1] :]], dim=1)


class Ancestral(TokenSampler):
    """x_s from q(x_s | x_t, x0_hat), from t = 1 to 0; Sahoo et al. 2024 (masked), Austin et al. 2021 (uniform).

    With n steps, tokens that move in one step do so independently given x_t: the model's distribution is reached as n
    grows. Chances are summed in float64. Draws: noise, step/k.
    """

    Options = AncestralOptions

    def __init__(self, **options: Any):
        self.options = AncestralOptions(**options)

    def grid(self, process: CategoricalProcess, steps: int) -> Tensor:
        """Times 1 = t_0 > ... > t_steps = 0, (steps + 1,), float64."""
        even = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
        return even if self.options.spacing == "uniform" else process.time(1 - even)

    def path(self, predictor, cond, x, *, steps, rng, prompt):
        o = self.options
        process: CategoricalProcess = unwrap(predictor).process
        times = self.grid(process, steps).to(x.device).unsqueeze(1).expand(-1, len(x))
        for k in range(steps):
            logits = predictor(x, times[k], cond).logits
            u = rng.uniform(f"step/{k}", tuple(x.shape), torch.float64).to(x.device)
            if isinstance(process, MaskedProcess):  # as `process.step`, with chances of the lifted tokens only
                lifted, rest = process.lifts(x, times[k], times[k + 1], u)
                x = x.masked_scatter(lifted, draw(probabilities(logits[lifted], o.temperature, o.top_p), rest))
            else:
                p = probabilities(logits, o.temperature, o.top_p)
                x = begin_with(process.step(x, times[k], times[k + 1], p, u), prompt)
            yield x


class Confidence(TokenSampler):
    """Of all masks the most confident predictions are kept, equally many in every step; the others stay masks: Chang et
    al. 2022 (MaskGIT), Nie et al. 2025 (LLaDA, low-confidence remasking).

    The confidence is the chance of the drawn token. Masked processes only. Draws: noise, token/k, gumbel/k.
    """

    Options = ConfidenceOptions

    def __init__(self, **options: Any):
        self.options = ConfidenceOptions(**options)

    def path(self, predictor, cond, x, *, steps, rng, prompt):
        o = self.options
        process = unwrap(predictor).process
        if not isinstance(process, MaskedProcess):
            raise TypeError(f"sampler confidence lifts masks; {process} has none. Use sampler ancestral")
        count = x.eq(process.mask_id).sum(1)
        for k in range(steps):
            t = process.time(torch.full((len(x),), k / steps, dtype=torch.float64, device=x.device))  # as many visible
            p = probabilities(predictor(x, t, cond).logits, o.temperature, o.top_p)
            tokens = draw(p, rng.uniform(f"token/{k}", tuple(x.shape), torch.float64).to(x.device))
            score = p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double().log()
            if o.noise:
                u = rng.uniform(f"gumbel/{k}", tuple(x.shape), torch.float64).to(x.device)
                score = score - o.noise * (1 - k / steps) * (-u.clamp_min(1e-300).log()).log()
            x = keep_confident(x, tokens, score, shares(count, steps, k), process.mask_id)
            yield x
