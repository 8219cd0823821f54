"""The view of the domain `clip`: clips side by side, moving; as PNG a strip of frames for every clip."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limbeck.files import write_whole
from limbeck.interfaces import Picture
from limbeck.pictures.encoding import animation, captions_of, data_uri, has_webp, png
from limbeck.pictures.views import grid_columns
from limbeck_video.encoding import video

GAP, CAPTION = 4, 12  # pixels between cells; height of a line of text
CELL = 60  # pixels that the shorter side of a clip is enlarged to
STRIP_CLIPS, STRIP_FRAMES = 16, 12  # shown in a PNG


class ClipGrid(Picture):
    """Clips (N, F, C, H, W) in [-1, 1]. In a page they move; .gif and .mp4 move too, .png is a strip of frames."""

    still = False

    def __init__(self, clips: Tensor, cond: Any = None, captions: Sequence[str] | None = None, columns: int = 0):
        if clips.ndim != 5 or clips.shape[2] not in (1, 3) or clips.shape[1] == 0:
            raise ValueError(
                f"a grid shows clips (N, F, C, H, W) with C 1 or 3; got shape {tuple(clips.shape)}. "
                "Give samples in the domain people see: space.codec.decode(samples)."
            )
        if captions is not None and len(captions) != len(clips):
            raise ValueError(f"one caption per clip: got {len(captions)} captions for {len(clips)} clips")
        self.clips, self.captions = clips, list(captions) if captions is not None else None
        self.columns = columns or grid_columns(len(clips), cond)
        self.zoom = video.zoom_to(CELL, *clips.shape[-2:])

    def frames(self) -> list[Image.Image]:
        """The whole grid at every moment, RGBA with a transparent ground."""
        videos = [video.pictures(clip, self.zoom) for clip in self.clips]
        high, wide = videos[0].shape[1:3] if videos else (0, 0)
        text = CAPTION if self.captions is not None else 0
        rows = math.ceil(len(videos) / self.columns)
        size = (self.columns * (wide + GAP) + GAP, rows * (high + text + GAP) + GAP)
        ground = Image.new("RGBA", size, (0, 0, 0, 0))
        places = [
            (GAP + (k % self.columns) * (wide + GAP), GAP + (k // self.columns) * (high + text + GAP))
            for k in range(len(videos))
        ]
        if self.captions is not None:
            draw, font = ImageDraw.Draw(ground), ImageFont.load_default(10)
            for (x, y), caption in zip(places, self.captions, strict=True):
                draw.text((x + wide / 2, y + high), caption, fill=(128, 128, 128, 255), font=font, anchor="ma")
        moments = []
        for moment in range(self.clips.shape[1]):
            picture = ground.copy()
            for place, made in zip(places, videos, strict=True):
                picture.paste(Image.fromarray(made[moment]), place)
            moments.append(picture)
        return moments

    def strip(self) -> Image.Image:
        """One row per clip, its frames from left to right: the first clips, evenly spaced moments."""
        count, length = len(self.clips), self.clips.shape[1]
        chosen = sorted({round(k * (length - 1) / max(1, STRIP_FRAMES - 1)) for k in range(STRIP_FRAMES)})
        zoom = max(1, self.zoom * 2 // 3)
        videos = [video.pictures(clip[chosen], zoom) for clip in self.clips[:STRIP_CLIPS]]
        high, wide = videos[0].shape[1:3] if count else (0, 0)
        text = CAPTION if self.captions is not None else 0
        size = (len(chosen) * (wide + GAP) + GAP, len(videos) * (high + text + GAP) + GAP)
        canvas = Image.new("RGBA", size, (0, 0, 0, 0))
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(10)
        for row, made in enumerate(videos):
            y = GAP + row * (high + text + GAP)
            for column, picture in enumerate(made):
                canvas.paste(Image.fromarray(picture), (GAP + column * (wide + GAP), y))
            if self.captions is not None:
                draw.text((GAP, y + high), self.captions[row], fill=(128, 128, 128, 255), font=font)
        return canvas

    def save(self, path: Any) -> None:
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix in video.WRITERS:
            write_whole(path, video.WRITERS[suffix](self._opaque()))
        elif suffix == ".webp":
            write_whole(path, animation(self.frames(), "webp"))
        elif suffix == ".png":
            write_whole(path, png(self.strip()))
        else:
            raise ValueError(f"cannot save clips as '{suffix}'. Use .png (a strip of frames), .gif, .webp or .mp4")

    def _opaque(self) -> numpy.ndarray:
        """The moving grid on a grey ground, (F, H, W, 3) uint8."""
        return numpy.stack([numpy.asarray(_on_grey(picture)) for picture in self.frames()])

    def html(self) -> str:
        """An endless animation, as an image of the page."""
        if has_webp():
            shown = data_uri("image/webp", animation(self.frames(), "webp"))
        else:
            shown = data_uri("image/gif", video.gif(self._opaque()))
        count, length = self.clips.shape[:2]
        return (
            f'<img class="grid" src="{shown}" alt="{count} clips of {length} frames" '
            'style="max-width:100%;height:auto">'
        )

    def _repr_html_(self) -> str:
        return self.html()


def _on_grey(picture: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", picture.size, (40, 40, 40, 255))
    return Image.alpha_composite(ground, picture).convert("RGB")


def clip(samples: Tensor, cond: Any = None, *, captions: Sequence[str] | None = None) -> ClipGrid:
    """Clips (N, F, C, H, W) in [-1, 1]. Labels of one or several things per clip, (N, M) integers, become captions."""
    return ClipGrid(samples, cond, captions_of(cond, len(samples)) if captions is None else captions)


__all__ = ["ClipGrid", "clip"]
