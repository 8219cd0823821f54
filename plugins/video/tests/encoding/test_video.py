"""Videos reload to the frames that went in."""

import io

import numpy
import pytest
import torch
from PIL import Image
from video_files import reloaded

from limbeck_video.encoding import video


def levels(count, height=20, width=20):
    """A video whose k-th frame is grey level 20 k."""
    return numpy.broadcast_to(
        (20 * numpy.arange(count, dtype=numpy.uint8))[:, None, None, None], (count, height, width, 3)
    )


@pytest.mark.parametrize("fps", [10.0, 7.5, 30.0])
def test_an_mp4_reloads_to_the_same_frames_and_rate(fps):
    frames, rate = reloaded(video.mp4(levels(11), fps))
    assert frames.shape == (11, 20, 20, 3) and rate == pytest.approx(fps)
    assert numpy.abs(frames.astype(int) - levels(11)).max() <= 6, "H.264 loses a little"


def test_odd_sides_and_an_odd_number_of_frames_are_written():
    frames, _ = reloaded(video.mp4(levels(7, 21, 33), 10))
    assert frames.shape == (7, 22, 34, 3), "one more row and column, repeated"
    assert numpy.abs(frames[:, :21, :33].astype(int) - levels(7, 21, 33)).max() <= 6
    assert reloaded(video.mp4(levels(1, 2, 2), 10))[0].shape == (1, 2, 2, 3)


def test_a_gif_keeps_every_grey_level_and_loops():
    data = video.gif(levels(12), fps=8)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 12 and image.info["loop"] == 0
        for k in range(12):
            image.seek(k)
            assert image.info["duration"] in (120, 130)  # hundredths of a second
            assert (numpy.asarray(image.convert("RGB")) == 20 * k).all()


def test_coloured_gifs_are_close():
    colours = numpy.zeros((3, 8, 8, 3), numpy.uint8)
    for k in range(3):
        colours[k, ..., k] = 200
    with Image.open(io.BytesIO(video.gif(colours))) as image:
        assert image.n_frames == 3
        image.seek(1)
        assert numpy.abs(numpy.asarray(image.convert("RGB")).astype(int) - colours[1]).max() < 12


def test_pixels_are_enlarged_by_whole_factors():
    tiny = torch.tensor([[-1.0, 1.0], [0.0, -1.0]]).view(1, 1, 2, 2)
    made = video.pictures(tiny, 3)
    assert made.shape == (1, 6, 6, 3) and made[0, :3, 3:].min() == 255 and set(made[0, 3:, :3].flatten()) == {128}
    assert video.zoom_to(160, 20, 20) == 8 and video.zoom_to(160, 480, 832) == 1 and video.zoom_to(50, 20, 40) == 3
    with pytest.raises(ValueError, match=r"\(F, C, H, W\) with C 1 or 3; got shape \(4, 2, 2\)"):
        video.pictures(torch.zeros(4, 2, 2))
