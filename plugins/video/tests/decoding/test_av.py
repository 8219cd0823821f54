"""Frames of video files: which are taken, and which way up."""

import numpy
import pytest

from limbeck_video.decoding.av import resampling, upright


def test_resampling_on_paper():
    assert resampling([0.0, 0.1, 0.2, 0.3], None) == ([0, 1, 2, 3], None)
    assert resampling([None, None, None], 5.0) == ([0, 1, 2], None)
    order, rate = resampling([0.0, 0.1, 0.2, 0.6, 0.7], None)
    assert order == [0, 1, 2, 2, 2, 2, 3, 4] and rate == pytest.approx(10)
    assert resampling([5.0, 5.1, 5.2, 5.3], 20.0)[0] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pictures_that_were_held_sideways_are_turned():
    picture = numpy.arange(6).reshape(2, 3, 1)
    assert upright(picture, 0).shape == (2, 3, 1) and upright(picture, -90).shape == (3, 2, 1)
    assert upright(picture, 90)[:, :, 0].tolist() == [[2, 5], [1, 4], [0, 3]]
