"""Clips as moving pictures: GIF and MP4, made in memory so that nothing half written is ever left.

Letters: F frames, C channels (1 or 3), H W height and width. Clips are in [-1, 1]; pictures are uint8, (F, H, W, 3).
"""

import io
from collections.abc import Callable
from fractions import Fraction

import numpy
import torch
from PIL import Image
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.pictures.encoding import animation

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
    """An endless GIF of pictures (F, H, W, 3)."""
    return animation([Image.fromarray(frame) for frame in frames], fps=fps)


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


__all__ = ["FPS", "WRITERS", "gif", "mp4", "pictures", "zoom_to"]
