"""Clips as moving pictures: GIF, animated WebP and MP4, all made in memory so that nothing half written is ever left.

Letters: F frames, C channels (1 or 3), H W height and width. Clips are in [-1, 1]; pictures are uint8, (F, H, W, 3).
"""

import io
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image, features
from torch import Tensor

from limbeck.errors import LimbeckError

FPS = 10.0


def pictures(clip: Tensor, zoom: int = 1) -> numpy.ndarray:
    """A clip (F, C, H, W) as RGB pictures (F, zoom H, zoom W, 3), enlarged by repeating pixels."""
    if clip.ndim != 4 or clip.shape[1] not in (1, 3):
        raise ValueError(
            f"a video shows a clip (F, C, H, W) with C 1 or 3; got shape {tuple(clip.shape)}. "
            "Give one clip in the domain people see: space.codec.decode(samples)[k]"
        )
    grey = (clip.detach().float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) * 127.5
    whole = grey.round().to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    return whole.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2).contiguous().numpy()


def zoom_to(size: int, height: int, width: int) -> int:
    """The whole factor that brings the shorter side to `size` pixels or just beyond; 1 for what is large enough."""
    return max(1, -(-size // min(height, width)))


def gif(frames: numpy.ndarray, fps: float = FPS) -> bytes:
    """An endless GIF; grey videos keep every level, coloured ones share the palette that suits all frames best. GIF
    counts hundredths of a second, so the rate is rounded to them."""
    if len(frames) == 0:
        raise ValueError("a video needs a frame")
    images = [Image.fromarray(frame) for frame in frames]
    if (frames[..., :1] == frames).all():
        plain = [image.convert("L") for image in images]
    else:
        strip = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
        palette = strip.quantize(256, dither=Image.Dither.NONE)
        plain = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    return _animated(plain, "GIF", 10 * max(1, round(100 / fps)), optimize=False, disposal=1)


def webp(images: Sequence[Image.Image], fps: float = FPS) -> bytes:
    """An endless lossless WebP, transparency kept."""
    return _animated(images, "WEBP", max(1, round(1000 / fps)), lossless=True, quality=60, method=3)


def _animated(images: Sequence[Image.Image], kind: str, milliseconds: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    images[0].save(
        buffer, format=kind, save_all=True, append_images=list(images[1:]), duration=milliseconds, loop=0, **options
    )
    return buffer.getvalue()


def has_webp() -> bool:
    return bool(features.check("webp"))


def mp4(frames: numpy.ndarray, fps: float = FPS) -> bytes:
    """H.264 in MP4, yuv420p, which every player reads. Sides are made even by repeating the last row or column."""
    import av

    if len(frames) == 0:
        raise ValueError("a video needs a frame")
    _, height, width, _ = frames.shape
    frames = numpy.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = next((name for name in ("libx264", "libopenh264", "h264") if name in av.codecs_available), None)
    if encoder is None:
        raise LimbeckError("this build of PyAV has no H.264 encoder. Install the wheel from PyPI (pip install av), or "
                           "export a GIF: --to gif")  # fmt: skip
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(encoder, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if encoder == "libx264":
            stream.options = {"crf": "14", "preset": "medium"}
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()


WRITERS: dict[str, Callable[..., bytes]] = {".gif": gif, ".mp4": mp4}


def write(path: Path, data: bytes) -> Path:
    """Written aside and renamed: an interruption leaves the old file or none."""
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


__all__ = ["FPS", "WRITERS", "gif", "has_webp", "mp4", "pictures", "webp", "write", "zoom_to"]
