"""Pictures as bytes and as parts of a page: PNG, moving GIF and WebP, data URIs; and what is written under them."""

import base64
import io
from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image, features
from torch import Tensor


def data_uri(kind: str, data: bytes) -> str:
    """Bytes of a media type (`image/png`, `audio/wav`) as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation(images: Sequence[Image.Image], kind: Literal["gif", "webp"] = "gif", *, fps: float = 10.0) -> bytes:
    """Pictures of one size, one after the other, for ever.

    gif: opaque; grey pictures keep every level, coloured ones share the one palette that suits all of them best, so
    that colours do not flicker. It counts hundredths of a second, so the rate is rounded to them. webp: lossless, with
    transparency; only where `has_webp()`.
    """
    if not images:
        raise ValueError("an animation needs a picture; got none")
    if kind == "webp":
        return _moving(images, "WEBP", max(1, round(1000 / fps)), lossless=True, quality=60, method=3)
    opaque = [image.convert("RGB") for image in images]
    return _moving(_one_palette(opaque), "GIF", 10 * max(1, round(100 / fps)), optimize=False, disposal=1)


def has_webp() -> bool:
    """Whether this Pillow was built with WebP."""
    return bool(features.check("webp"))


def _one_palette(images: Sequence[Image.Image]) -> list[Image.Image]:
    if all(_is_grey(image) for image in images):
        return [image.convert("L") for image in images]
    width, height = images[0].size
    strip = Image.new("RGB", (width, height * len(images)))
    for index, image in enumerate(images):
        strip.paste(image, (0, height * index))
    palette = strip.quantize(256, dither=Image.Dither.NONE)
    return [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red == green == blue


def _moving(images: Sequence[Image.Image], kind: str, milliseconds: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    images[0].save(
        buffer, format=kind, save_all=True, append_images=list(images[1:]), duration=milliseconds, loop=0, **options
    )
    return buffer.getvalue()


def captions_of(cond: Any, count: int, names: Sequence[str] | None = None) -> list[str] | None:
    """A caption for each of `count` samples: the names of their labels, (N,) or several a row (N, M), integers.

    A label without a name is written as its number. None for conditions that are no such labels.
    """
    if not isinstance(cond, Tensor) or cond.ndim not in (1, 2) or cond.is_floating_point() or len(cond) != count:
        return None
    rows = cond[:, None] if cond.ndim == 1 else cond
    known = names or ()
    return [" ".join(known[k] if 0 <= k < len(known) else str(k) for k in row) for row in rows.tolist()]


__all__ = ["animation", "captions_of", "data_uri", "has_webp", "png"]
