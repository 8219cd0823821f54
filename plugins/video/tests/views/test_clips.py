"""Clips side by side: moving in a page, saved by suffix."""

import base64
import io
import re

import numpy
import pytest
import torch
from PIL import Image
from video_files import reloaded

from limbeck.pictures.views import picture
from limbeck.sampling.samples import Samples
from limbeck_video.data.moving_digits import SPACE, MovingDigits
from limbeck_video.encoding import video
from limbeck_video.views.clips import CELL, GAP, ClipGrid, clip


@pytest.fixture(scope="module")
def six():
    return MovingDigits("held_out").batch(torch.arange(6))


def test_the_page_shows_moving_clips(six):
    shown = picture(six.x0, six.cond, domain="clip")
    assert (
        isinstance(shown, ClipGrid)
        and not shown.still
        and shown.captions[0] == " ".join(map(str, six.cond[0].tolist()))
    )
    page = shown.html()
    kind, data = re.search(r'src="data:image/(webp|gif);base64,([^"]+)"', page).groups()
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.n_frames == 12 and image.info["loop"] == 0
        columns = shown.columns
        assert image.size[0] == columns * (CELL + GAP) + GAP
        image.seek(5)
        corner = numpy.asarray(image.convert("RGB"))[GAP : GAP + CELL, GAP : GAP + CELL]
    if kind == "webp":
        assert (corner == video.pictures(six.x0[0], 3)[5]).all(), "the first clip at its sixth moment"
    assert 'alt="6 clips of 12 frames"' in page


def test_saved_by_suffix(six, tmp_path):
    samples = Samples(six.x0, six.cond, SPACE)
    for name in ("strip.png", "grid.gif", "grid.mp4", "grid.webp"):
        assert samples.save(tmp_path / name).stat().st_size > 500
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (12 * (40 + GAP) + GAP, 6 * (40 + 12 + GAP) + GAP)
    assert len(reloaded(tmp_path / "grid.mp4")[0]) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.gif", "grid.mp4", "grid.webp", "strip.png"]
    with pytest.raises(ValueError, match=r"cannot save clips as '.jpg'. Use .png"):
        clip(six.x0).save(tmp_path / "grid.jpg")


def test_labels_become_captions_one_or_several_for_each_clip(six):
    assert clip(six.x0, six.cond).captions == [f"{one} {two}" for one, two in six.cond.tolist()]
    assert clip(six.x0, six.cond[:, 0]).captions == [str(one) for one in six.cond[:, 0].tolist()]
    assert clip(six.x0, six.cond[:2]).captions is None and clip(six.x0, six.cond.float()).captions is None


def test_what_is_no_clip_is_refused(six):
    with pytest.raises(ValueError, match=r"clips \(N, F, C, H, W\) with C 1 or 3; got shape \(6, 1, 20, 20\)"):
        clip(six.x0[:, 0])
    with pytest.raises(ValueError, match="got 2 captions for 6 clips"):
        clip(six.x0, captions=["a", "b"])
