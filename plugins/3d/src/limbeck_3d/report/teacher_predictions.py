"""What the teacher sees of a scene: rendered, noised, its prediction in one step and in many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Teacher
from limbeck.networks.scenes import Scene
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng

LEVELS = (0.25, 0.5, 0.8)  # of t_max
STEPS = 8


@dataclass(frozen=True)
class Seen:
    """V views at L noise levels, all as images (3, H, W) in [-1, 1]: rendered (V, ...); noised (that is x_t),
    one_step (x0_hat) and many_steps (DDIM from x_t to data) (L, V, ...); times (L,)."""

    rendered: Tensor
    noised: Tensor
    one_step: Tensor
    many_steps: Tensor
    times: tuple[float, ...]
    cond: Any


def what_the_teacher_sees(
    scene: Scene, teacher: Teacher, cond: Any, *, levels: Sequence[float] = LEVELS, steps: int = STEPS, seed: int = 0
) -> Seen:
    """Show a teacher (pixel, or latent through its codec) noised renders, all with the same noise.

    Args:
        cond: V rows of what the scene and the teacher read: cameras, background, text.
        levels: times, as shares of the process's t_max.
        steps: teacher calls of the walk from x_t to data; plain DDIM, so that only the teacher is on show.
    """
    process, codec = teacher.process, teacher.space.codec
    if not isinstance(process, GaussianProcess):
        raise TypeError(f"noise is shown on Gaussian processes; the teacher's is {type(process).__name__}")
    device = next(scene.parameters()).device
    cond = conditions.to(cond, device)
    rng = Rng(seed, phase="what the teacher sees", device=device)
    with torch.no_grad():
        image = scene(cond).image
        x0 = codec.encode(image)
        eps = rng.normal("eps", x0.shape)
        noised, one, many = [], [], []
        times = tuple(level * process.t_max for level in levels)
        for time in times:
            t = torch.full((len(x0),), time, device=device)
            xt = process.add_noise(x0, eps, t)
            noised.append(xt)
            one.append(teacher(xt, t, cond).x0_hat)
            many.append(walk(teacher, xt, t, cond, steps))
        decoded = [torch.stack([codec.decode(x) for x in part]) for part in (noised, one, many)]
    return Seen(image, *decoded, times, cond)


def walk(teacher: Teacher, xt: Tensor, t: Tensor, cond: Any, steps: int) -> Tensor:
    """x at time 0, from xt at t (B,) by `steps` equal DDIM steps in time."""
    for k in range(steps):
        at, to = t * (1 - k / steps), t * (1 - (k + 1) / steps)
        x0_hat = teacher(xt, at, cond).x0_hat
        xt = x0_hat if k + 1 == steps else teacher.process.ddim(xt, at, to, x0_hat)
    return xt


def four_sides(cond: Any, count: int = 4) -> Any:
    """Rows of `cond` that look from nearest to azimuth 0, 90, 180 and 270; its first rows if it has no cameras."""
    if not isinstance(cond, conditions.Conditions) or "azimuth" not in cond:
        return conditions.rows(cond, slice(0, count))
    wanted = torch.arange(count, device=cond["azimuth"].device) * (360 / count)
    gap = (cond["azimuth"][None] - wanted[:, None] + 180) % 360 - 180
    return cond[gap.abs().argmin(dim=1)]


__all__ = ["LEVELS", "STEPS", "Seen", "four_sides", "walk", "what_the_teacher_sees"]
