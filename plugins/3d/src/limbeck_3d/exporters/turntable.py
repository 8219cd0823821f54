"""A scene that turns: renders from evenly spaced azimuths, and a GIF of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limbeck.conditions import Conditions
from limbeck.errors import NonFinite
from limbeck.export.folder import prepare
from limbeck.files import write_whole
from limbeck.networks.scenes import Render, Scene
from limbeck.pictures.encoding import animation
from limbeck_3d.exporters.scene import check_particle, scene_of
from limbeck_3d.options.exporters import TurntableOptions
from limbeck_3d.scenes.image import ImageScene

FPS = 12.5  # of a GIF


def export_gif(run: Any, directory: Path | str, **options: Any) -> list[Path]:
    """turntable.gif: the scene seen from all around."""
    chosen = TurntableOptions(**options)
    scene = scene_of(run)
    check_particle(scene, chosen.particle)
    path = prepare(directory, chosen.overwrite) / "turntable.gif"
    return [write_whole(path, turntable_gif(scene, chosen))]


def turntable_gif(scene: Scene, options: TurntableOptions | None = None) -> bytes:
    """A GIF of a scene that turns once."""
    o = options or TurntableOptions()
    cond = views(1 if isinstance(scene, ImageScene) else o.views, elevation=o.elevation, distance=o.distance, fov=o.fov)
    seen = render(scene, cond, size=min(o.render_size, o.size), background=(o.background,) * 3, particle=o.particle)
    if not bool(torch.isfinite(seen.image).all()):
        raise NonFinite("the scene renders values that are not finite. Export an earlier checkpoint")
    return animation(frames(seen.image, o.size), fps=FPS)


def views(
    count: int, *, azimuth: float = 0.0, elevation: float = 20.0, distance: float = 3.1, fov: float = 40.0
) -> Conditions:
    """Cameras once around, from `azimuth` on."""
    return Conditions(
        azimuth=(azimuth + torch.arange(count) * (360 / count)) % 360,
        elevation=torch.full((count,), elevation),
        distance=torch.full((count,), distance),
        fov=torch.full((count,), fov),
    )


@contextmanager
def rendering_at(scene: Any, size: int | None) -> Iterator[None]:
    """Render at another size for a while, in evaluation mode and without gradients."""
    before, training = getattr(scene, "size", None), scene.training
    if size is not None and before is not None and not isinstance(scene, ImageScene):
        scene.size = size
    scene.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        scene.train(training)
        if before is not None:
            scene.size = before


def render(
    scene: Scene, cond: Conditions, *, size: int | None = None, background: Sequence[float] = (1.0, 1.0, 1.0),
    particle: int = 0, rows: int = 4,
) -> Render:  # fmt: skip
    """Render many views, a few at a time, on the scene's device; results on the CPU. background in [-1, 1]."""
    device = next(scene.parameters()).device
    count = len(cond)
    cond = cond.but(
        background=torch.tensor([background]).expand(count, 3).clone(),
        particle=torch.full((count,), particle, dtype=torch.int64),
    )
    parts = []
    with rendering_at(scene, size):
        for start in range(0, count, rows):
            parts.append(scene(cond[start : start + rows].to(device)))
    depth = [part.depth.cpu() for part in parts if part.depth is not None]
    return Render(
        image=torch.cat([part.image.cpu() for part in parts]),
        alpha=torch.cat([part.alpha.cpu() for part in parts]),
        depth=torch.cat(depth) if depth else None,
    )


def frames(images: Tensor, size: int | None = None) -> list[Image.Image]:
    """Images (N, 3, H, W) in [-1, 1] as pictures, enlarged to `size` pixels if they are smaller."""
    grey = ((images.detach().float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    found = [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in grey]
    if size is None or not found or found[0].height >= size:
        return found
    width = round(size * found[0].width / found[0].height)
    return [image.resize((width, size), Image.Resampling.BICUBIC) for image in found]


__all__ = ["export_gif", "frames", "render", "rendering_at", "turntable_gif", "views"]
