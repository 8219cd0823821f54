"""The panel `teachers_view`: renders of a scene, noised, and the teacher's predictions in one step and in many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import Teacher
from limbeck.networks.scenes import Scene
from limbeck.pictures.grids import image_grid
from limbeck.process.gaussian import GaussianProcess
from limbeck.randomness import Rng
from limbeck.report import Fragment
from limbeck_3d.report.scene import scene_copy

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
            many.append(walk(teacher, process, xt, t, cond, steps))
        decoded = [torch.stack([codec.decode(x) for x in part]) for part in (noised, one, many)]
    return Seen(image, decoded[0], decoded[1], decoded[2], times, cond)


def walk(teacher: Teacher, process: GaussianProcess, xt: Tensor, t: Tensor, cond: Any, steps: int) -> Tensor:
    """x at time 0, from xt at t (B,) by `steps` equal DDIM steps in time."""
    for k in range(steps):
        at, to = t * (1 - k / steps), t * (1 - (k + 1) / steps)
        x0_hat = teacher(xt, at, cond).x0_hat
        xt = x0_hat if k + 1 == steps else process.ddim(xt, at, to, x0_hat)
    return xt


def four_sides(cond: Any, count: int = 4) -> Any:
    """Rows of `cond` that look from nearest to azimuth 0, 90, 180 and 270; its first rows if it has no cameras."""
    if not isinstance(cond, conditions.Conditions) or "azimuth" not in cond:
        return conditions.rows(cond, slice(0, count))
    wanted = torch.arange(count, device=cond["azimuth"].device) * (360 / count)
    gap = (cond["azimuth"][None] - wanted[:, None] + 180) % 360 - 180
    return cond[gap.abs().argmin(dim=1)]


# --- panel -----------------------------------------------------------------------------------------------------------


def teachers_view(run: Any) -> Fragment | None:
    """Renders from four sides, noised, and what the teacher makes of them in one step and in many."""
    scene, teacher = scene_copy(run), run.built.teacher
    if scene is None or teacher is None:
        return None
    device = next((p.device for p in teacher.parameters()), torch.device("cpu"))
    cond = _conditions(run)
    seen = what_the_teacher_sees(scene.to(device), teacher, four_sides(cond))
    rows = [
        f'<tr><th scope="row">t = {time:.2f}</th>'
        + "".join(f"<td>{_strip(part[level])}</td>" for part in (seen.noised, seen.one_step, seen.many_steps))
        + "</tr>"
        for level, time in enumerate(seen.times)
    ]
    scale = getattr(teacher, "scale", None)
    guidance = f"guidance {scale:g}, " if isinstance(scale, int | float) else ""
    return Fragment(
        "What the teacher sees",
        f"<p>Rendered from four sides:</p>{_strip(seen.rendered)}"
        f'<div class="scroll"><table><thead><tr><th></th><th scope="col">noised</th><th scope="col">one step</th>'
        f'<th scope="col">{STEPS} steps</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="caption">The same noise at three levels; {guidance}predictions of clean images by the run\'s '
        "teacher. A teacher that wants something else than is rendered pulls the scene there; one that wants the same "
        "thing from every side makes a scene with many fronts.</p>",
    )


def _conditions(run: Any) -> Any:
    built, rng = run.built, Rng(0, phase="panel")
    if built.data is not None:
        return built.data.conditions(64, rng)
    return built.source.batch(64, rng).cond


def _strip(images: Tensor) -> str:
    if images.shape[1] not in (1, 3):  # latents without a decoder: their first channels
        images = images[:, :3]
    return image_grid(images, columns=len(images), cell=64).html()


__all__ = ["LEVELS", "STEPS", "Seen", "four_sides", "teachers_view", "walk", "what_the_teacher_sees"]
