"""Pictures as bytes, moving ones too, and what is written under them."""

import base64
import io

import pytest
import torch
from PIL import Image, ImageSequence

from limbeck.pictures.encoding import animation, captions_of, data_uri, has_webp, png


def read(data):
    return Image.open(io.BytesIO(data))


def tiles(*colours):
    return [Image.new("RGBA", (6, 4), colour) for colour in colours]


def test_a_data_uri_holds_the_bytes():
    start, _, body = data_uri("image/png", png(tiles("red")[0])).partition(";base64,")
    assert start == "data:image/png" and read(base64.b64decode(body)).size == (6, 4)


def test_a_coloured_gif_has_one_palette_and_turns_for_ever():
    made = read(animation(tiles("red", "lime", "blue"), fps=20))
    frames = [frame.convert("RGB").getpixel((0, 0)) for frame in ImageSequence.Iterator(made)]
    assert frames == [(255, 0, 0), (0, 255, 0), (0, 0, 255)] and made.info["loop"] == 0 and made.info["duration"] == 50


def test_a_grey_gif_keeps_every_level():
    levels = [Image.new("RGB", (2, 2), (k, k, k)) for k in range(0, 256, 5)]
    made = read(animation(levels))
    assert [f.convert("L").getpixel((0, 0)) for f in ImageSequence.Iterator(made)] == list(range(0, 256, 5))


@pytest.mark.skipif(not has_webp(), reason="this Pillow has no WebP")
def test_a_webp_keeps_transparency():
    made = read(animation([*tiles("red"), Image.new("RGBA", (6, 4), (0, 0, 0, 0))], "webp"))
    assert [f.convert("RGBA").getpixel((0, 0))[3] for f in ImageSequence.Iterator(made)] == [255, 0]


def test_an_animation_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs a picture; got none"):
        animation([])


def test_labels_are_captions_by_name_or_by_number():
    assert captions_of(torch.tensor([1, 0, 7]), 3, ("no", "yes")) == ["yes", "no", "7"]
    assert captions_of(torch.tensor([[1, 0], [2, 3]]), 2) == ["1 0", "2 3"]
    for cond, count in ((None, 2), (torch.tensor([1]), 2), (torch.tensor([0.5, 1.0]), 2), (["a", "b"], 2)):
        assert captions_of(cond, count) is None
