"""A grid of images as one PNG: what the views of image domains draw with."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limbeck.files import write_whole
from limbeck.interfaces import Picture
from limbeck.pictures.encoding import animation, data_uri, png
from limbeck.pictures.views import grid_columns

GAP = 4  # pixels between cells
CAPTION = 12  # height of a line of text


class ImageGrid(Picture):
    """Images (N, C, H, W) in [-1, 1], C 1 or 3, on one canvas; shown inline in notebooks. As .gif one after the other,
    which turns a scene."""

    def __init__(self, image: Image.Image, count: int, tiles: Sequence[Image.Image] = ()):
        self.image, self.count, self.tiles = image, count, list(tiles)

    def png(self) -> bytes:
        return png(self.image)

    def save(self, path: Any) -> None:
        path = Path(path)
        if path.suffix.lower() == ".gif" and self.tiles:
            write_whole(path, animation(self.tiles))
        else:
            self.image.save(path)

    def html(self) -> str:
        width, height = self.image.size
        return (
            f'<img src="{data_uri("image/png", self.png())}" width="{width}" height="{height}" '
            f'alt="grid of {self.count} images" style="max-width:100%;height:auto">'
        )

    def _repr_png_(self) -> bytes:
        return self.png()


def image_grid(
    samples: Tensor,
    cond: Any = None,
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    cell: int = 40,
) -> ImageGrid:
    """A grid of samples (N, C, H, W) in [-1, 1], enlarged to `cell` pixels or more with a smooth filter.

    `captions`, one short text per sample, are written under the cells. `columns` defaults to one per class when labels
    take turns, else to a grid wider than high.
    """
    if samples.ndim != 4 or samples.shape[1] not in (1, 3):
        raise ValueError(
            f"a grid shows images (N, C, H, W) with C 1 or 3; got shape {tuple(samples.shape)}. "
            "Give samples in the domain people see: space.codec.decode(samples)."
        )
    if captions is not None and len(captions) != len(samples):
        raise ValueError(f"one caption per sample: got {len(captions)} captions for {len(samples)} samples")
    count, channels, height, width = samples.shape
    columns = columns or grid_columns(count, cond)
    rows = math.ceil(count / columns)
    zoom = max(1, math.ceil(cell / max(height, width)))
    wide, high, text = zoom * width, zoom * height, CAPTION if captions is not None else 0
    size = (columns * (wide + GAP) + GAP, rows * (high + text + GAP) + GAP)
    # a transparent ground suits light and dark pages
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(10)
    grey = (samples.detach().float().cpu().nan_to_num(-1.0).clamp(-1, 1) + 1) * 127.5
    tiles = []
    for index, values in enumerate(grey.round().to(torch.uint8)):
        array = values[0].numpy() if channels == 1 else values.permute(1, 2, 0).numpy()
        tile = Image.fromarray(array).resize((wide, high), Image.Resampling.BICUBIC).convert("RGBA")
        tiles.append(tile)
        x = GAP + (index % columns) * (wide + GAP)
        y = GAP + (index // columns) * (high + text + GAP)
        canvas.paste(tile, (x, y))
        if captions is not None:
            draw.text((x + wide / 2, y + high), captions[index], fill=(128, 128, 128, 255), font=font, anchor="ma")
    return ImageGrid(canvas, count, tiles)
