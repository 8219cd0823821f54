import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.pictures.grids import GAP, image_grid as pixels


def test_a_grid_shows_every_sample_where_it_belongs(tmp_path):
    samples = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    picture = pixels(samples, columns=2, cell=16)
    picture.save(tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGBA"))
    assert grid.shape == (2 * 16 + 3 * GAP, 2 * 16 + 3 * GAP, 4)
    first, second, third = GAP + 8, 2 * GAP + 24, GAP + 8
    assert grid[first, first, 0] == 0 and grid[first, second, 0] == 128 and grid[second, third, 0] == 255
    assert grid[second, second, 3] == 0  # the empty cell is transparent


def test_html_holds_the_same_picture_and_needs_nothing_else():
    picture = pixels(torch.rand(5, 3, 16, 16) * 2 - 1, captions=list("abcde"))
    page = picture.html()
    assert page.startswith('<img src="data:image/png;base64,') and "http" not in page
    inside = Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1].split('"')[0])))
    assert inside.size == picture.image.size
    assert picture._repr_png_() == picture.png()


def test_captions_make_room_and_leave_ink():
    samples = torch.full((2, 1, 8, 8), -1.0)
    bare, written = pixels(samples, columns=2), pixels(samples, columns=2, captions=["7", "3"])
    assert written.image.height > bare.image.height
    below = np.asarray(written.image)[bare.image.height - GAP :, :, 3]
    assert below.max() > 0


def test_values_outside_the_range_and_nan_are_drawn_and_do_not_raise():
    samples = torch.tensor([5.0, -5.0, float("nan")]).reshape(3, 1, 1, 1).expand(3, 1, 8, 8)
    assert pixels(samples).count == 3


def test_what_is_not_an_image_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"got shape \(4, 2\).*codec\.decode"):
        pixels(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="got 1 captions for 2 samples"):
        pixels(torch.zeros(2, 1, 8, 8), captions=["1"])
