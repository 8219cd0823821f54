"""Samples that carry gradients: few-step rollouts, renders of scenes, tokens from one call.

`produce` is the door for every objective that moves a sample: whatever the generator is, it returns a `Sample` in the
teacher's space and the tensor at which the gradient is to be injected. Core calls `generator.forward` as often as the
plan requires.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck import conditions
from limbeck.interfaces import Batch, Sample, Space, Teacher, unwrap
from limbeck.networks.scenes import Scene
from limbeck.process.categorical import CategoricalProcess, draw
from limbeck.process.gaussian import GaussianProcess
from limbeck.process.grids import time_grid
from limbeck.randomness import Rng

Grad = Literal["last", "all", "none"]


@dataclass(frozen=True)
class Plan:
    """At which times the generator is called, and how one call leads to the next.

    times: t_1 > t_2 > ... > t_n, the input time of each call.
    transition: `renoise` (x_{k+1} = alpha x0_hat + sigma eps', consistency and DMD2), `ddim` (deterministic step with
        x0_hat fixed) or `jump` (the flow map itself predicts x at the next time).
    exit: `last` runs all calls; `random` leaves after a call drawn uniformly, one for the whole global batch
        (backward simulation, Yin et al. 2024, Sec. 4.5).
    """

    times: tuple[float, ...]
    transition: Literal["renoise", "ddim", "jump"] = "renoise"
    exit: Literal["last", "random"] = "last"

    def __post_init__(self):
        if not self.times or any(a <= b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"plan times must fall strictly, from noise to data; got {self.times}")

    @property
    def steps(self) -> int:
        """How many calls."""
        return len(self.times)

    @staticmethod
    def uniform(process: GaussianProcess, steps: int, **options) -> "Plan":
        """`steps` calls at t_max * (1, (n-1)/n, ..., 1/n), then `shifted` by the process."""
        return Plan(tuple(float(t) for t in time_grid(process, steps)[:-1]), **options)


def rollout(
    generator: nn.Module,
    cond: Any,
    *,
    plan: Plan,
    rng: Rng,
    batch_size: int | None = None,
    grad: Grad = "last",
    noise: Tensor | None = None,
) -> Sample:
    """Run the plan. Gradient flows through the last call made (`last`), every call (`all`) or none.

    Args:
        generator: a `Predictor` (or a teacher) on a Gaussian process, possibly wrapped for DDP.
        cond: conditions of B rows, or None (then pass batch_size).
        noise: x at the first time, (B, *event), instead of a draw named "noise".

    Returns:
        Sample whose value is x0_hat of the last call, (B, *event).
    """
    spec = unwrap(generator)
    if not isinstance(spec, Teacher):
        raise TypeError(f"a rollout calls a Predictor, (xt, t, cond) -> Prediction; got {type(spec).__name__}")
    process = spec.process
    if not isinstance(process, GaussianProcess):
        raise TypeError(f"a rollout walks a Gaussian process; {type(spec).__name__} lives on {process}. Use `one_call`")
    if noise is None:
        noise = process.prior_sample((conditions.count(cond, batch_size), *spec.space.event), rng)
    last = exit_of(plan, rng)
    value = walk(
        lambda x, t, **more: generator(x, t, cond, **more), process, noise, plan, last=last, grad=grad,
        eps=lambda k, like: rng.normal(f"renoise/{k}", like.shape, like.dtype),
    )  # fmt: skip
    return Sample(value=value, at=value, t_from=plan.times[last], t_to=0.0, evaluations=last + 1)


def exit_of(plan: Plan, rng: Rng) -> int:
    """Index of the last call made; a random one is drawn as "exit", once for the global batch."""
    last = len(plan.times) - 1
    return rng.shared_integer("exit", last + 1) if plan.exit == "random" else last


def walk(
    call: Callable[..., Any],
    process: GaussianProcess,
    x: Tensor,
    plan: Plan,
    *,
    last: int,
    grad: Grad,
    eps: Callable[[int, Tensor], Tensor],
) -> Tensor:
    """The calls 0 ... last of a plan, from x at its first time (B, *event).

    Args:
        call: `call(x, t) -> Prediction`, `call(x, t, s=s)` on a flow map; t, s (B,).
        last: index of the last call: the one with gradient under `grad="last"`.
        eps: `eps(k, like)`, fresh normal noise behind call k.

    Returns:
        x0_hat of the last call, or what a flow map lands on, (B, *event).
    """
    for k in range(last + 1):
        t = torch.full(x.shape[:1], plan.times[k], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        s = torch.full_like(t, plan.times[k + 1] if k < last else 0.0)
        learns = grad == "all" or (grad == "last" and k == last)
        with nullcontext() if learns else torch.no_grad():
            out = call(x, t, s=s) if plan.transition == "jump" else call(x, t)
            if plan.transition == "jump":
                x = out.xs
            elif k == last:
                x = out.x0_hat
            elif plan.transition == "renoise":
                x = process.add_noise(out.x0_hat, eps(k, out.x0_hat), s)
            else:
                x = process.ddim(x, t, s, out.x0_hat)
    return x


def produce(
    generator: nn.Module,
    batch: Batch,
    *,
    plan: Plan | None,
    rng: Rng,
    grad: Grad = "last",
    space: Space | None = None,
    random_tokens: float = 0.0,
) -> Sample:
    """A sample of the generator for the conditions (and the noise, if it has any) of a batch.

    - a predictor on a Gaussian process: `rollout` of the plan;
    - a scene: one render for the cameras among `batch.cond`, brought to the teacher's `space` by its codec
      (render -> encode), with the scene's penalties;
    - a predictor on a categorical process: `one_call`; `value` are tokens (B, L), `at` their logits (B, L, V).

    Args:
        plan: times of the calls; scenes and tokens take none.
        grad: which calls carry gradient; for a single call `last` and `all` mean the same.
        space: where the teacher lives; None: where the generator does.
        random_tokens: see `one_call`.
    """
    spec: Any = unwrap(generator)
    if isinstance(spec, Scene):
        return _rendered(generator, batch, spec.space if space is None else space, grad)
    if isinstance(spec, Teacher) and isinstance(spec.process, CategoricalProcess):
        return one_call(
            generator, batch.cond, rng=rng, batch_size=len(batch), grad=grad, start=batch.noise,
            random_tokens=random_tokens,
        )  # fmt: skip
    if plan is None:
        raise ValueError(
            "a rollout needs a plan: at which times the generator is called (Plan.uniform(process, steps))"
        )
    return rollout(generator, batch.cond, plan=plan, rng=rng, batch_size=len(batch), grad=grad, noise=batch.noise)


def _rendered(scene: nn.Module, batch: Batch, space: Space, grad: Grad) -> Sample:
    if batch.cond is None:
        raise ValueError(
            "a scene is rendered for cameras, but the batch has no conditions: use a source that draws cameras "
            "(source: prior, with the data block of the 3D recipe)"
        )
    with nullcontext() if grad != "none" else torch.no_grad():
        render = scene(batch.cond)
        at = space.codec.encode(render.image)
    if grad == "none":
        at = at.detach()  # a view of a parameter requires gradients even where none are recorded
    if at.shape[1:] != space.event:
        raise ValueError(
            f"the scene's render {tuple(render.image.shape[1:])} becomes {tuple(at.shape[1:])} in the teacher's space, "
            f"which holds {space.event}. Render at the teacher's resolution"
        )
    return Sample(value=at, at=at, t_from=0.0, t_to=0.0, evaluations=1, penalties=render.penalties)


def one_call(
    generator: nn.Module,
    cond: Any,
    *,
    rng: Rng,
    batch_size: int,
    grad: Grad = "last",
    start: Tensor | None = None,
    random_tokens: float = 0.0,
) -> Sample:
    """Tokens from one call at t = t_max. Draws: noise and random (the start), token.

    Args:
        start: tokens at t_max, (B, L), instead of a draw from the prior.
        random_tokens: share of the positions of an all-mask start that are drawn uniformly from the vocabulary
            instead: the only randomness that reaches the network, so without it all rows with one condition get the
            same logits (Di[M]O uses 0.4).

    Returns:
        Sample with `value` (B, L), drawn from `at`, the logits (B, L, V).
    """
    spec: Any = unwrap(generator)
    process: CategoricalProcess = spec.process
    start = token_start(process, (batch_size, *spec.space.event), rng, random_tokens, start)
    t = torch.full((len(start),), float(process.t_max), device=start.device)
    with nullcontext() if grad != "none" else torch.no_grad():
        logits = generator(start, t, cond).logits
    with torch.no_grad():
        u = rng.uniform("token", tuple(start.shape), torch.float64)
        tokens = draw(logits.double().softmax(-1), u)
    return Sample(value=tokens, at=logits, t_from=process.t_max, t_to=0.0, evaluations=1)


def token_start(
    process: CategoricalProcess,
    shape: tuple[int, ...],
    rng: Rng,
    random_tokens: float = 0.0,
    start: Tensor | None = None,
) -> Tensor:
    """x at t_max with a share of random tokens, (B, L). Draws uniform `noise` (unless `start` is given), `random`."""
    if start is None:
        start = process.prior_sample(shape, rng)
    if random_tokens == 0:
        return start
    u = rng.uniform("random", tuple(start.shape), torch.float64)
    token = (u / random_tokens * process.vocab).long().clamp_max(process.vocab - 1)
    return torch.where(u < random_tokens, token, start)
