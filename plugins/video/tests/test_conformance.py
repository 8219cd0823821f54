"""Data and metrics of clips, held to the contract by the conformance kit."""

import numpy
import pytest

from limbeck.testing.conformance import DataConformance, MetricConformance
from limbeck_video.data.folder import VideoFolder
from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.encoding import video
from limbeck_video.metrics.flicker import Flicker
from limbeck_video.metrics.frechet import FrameFrechet, MotionFrechet
from limbeck_video.metrics.label_accuracy import LabelAccuracy
from limbeck_video.metrics.trajectory import TrajectoryError


class TestMovingDigits(DataConformance):
    can = ("samples", "conditions", "held_out")

    def make(self):
        return MovingDigits(clips=200)


class TestVideoFolder(DataConformance):
    can = ("samples", "held_out")

    @pytest.fixture(autouse=True)
    def videos(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
        type(self).path = tmp_path / "videos"
        self.path.mkdir()
        for k in range(3):
            shades = (80 * k + 5 * numpy.arange(8, dtype=numpy.uint8))[:, None, None, None]
            (self.path / f"{k}.mp4").write_bytes(video.mp4(numpy.tile(shades, (1, 16, 16, 3))))

    def make(self):
        return VideoFolder(path=str(self.path), frames=4, size=(8, 8))


class Few(MovingDigits):
    """16 held-out clips."""

    def __len__(self):
        return 16 if self.name == "held_out" else super().__len__()

    def split(self, name):
        return Few(name, self.frames, self.clips)


class _OnDigits(MetricConformance):
    def data(self):
        return Few(clips=16)


class TestFrameFrechet(_OnDigits):
    def make(self):
        return FrameFrechet(clips=16)


class TestMotionFrechet(_OnDigits):
    def make(self):
        return MotionFrechet(clips=16)


class TestLabelAccuracy(_OnDigits):
    def make(self):
        return LabelAccuracy()


class TestTrajectoryError(_OnDigits):
    def make(self):
        return TrajectoryError()


class TestFlicker(_OnDigits):
    def make(self):
        return Flicker()
