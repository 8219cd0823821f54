"""Data and metrics of sound, held to the contract by the conformance kit."""

import numpy as np
import pytest
import soundfile

from limbeck.testing.conformance import DataConformance, MetricConformance
from limbeck_audio.data.folder import AudioFolder
from limbeck_audio.data.speech import SpokenDigits, SpokenWords
from limbeck_audio.metrics.frechet import FrechetAudio
from limbeck_audio.metrics.spectral import LogSpectralDistance
from limbeck_audio.metrics.speech import DigitAccuracy

SMALL = {"voices": ("en-us", "en+m2"), "held_out_voices": ("en-us+m3",), "pitches": (45,), "speeds": (120, 160)}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class TestSpokenDigits(DataConformance):
    can = ("samples", "conditions", "held_out")

    def make(self):
        return SpokenDigits(**SMALL)


class TestSpokenWords(DataConformance):
    can = ("samples", "conditions", "held_out")

    def make(self):
        return SpokenWords(words=("go", "stop"), **SMALL)


class TestAudioFolder(DataConformance):
    can = ("samples", "conditions", "held_out")

    @pytest.fixture(autouse=True)
    def sounds(self, tmp_path):
        type(self).path = tmp_path
        for k in range(20):
            (tmp_path / f"{k % 2}").mkdir(exist_ok=True)
            tone = 0.3 * np.sin(2 * np.pi * (300 + 50 * k) * np.arange(8000) / 16_000)
            soundfile.write(tmp_path / f"{k % 2}" / f"{k}.wav", tone, 16_000)

    def make(self):
        return AudioFolder(path=str(self.path))


class _OnDigits(MetricConformance):
    def data(self):
        return SpokenDigits(**SMALL)


class TestFrechetAudio(_OnDigits):
    def make(self):
        return FrechetAudio()


class TestDigitAccuracy(_OnDigits):
    def make(self):
        return DigitAccuracy()


class TestLogSpectralDistance(_OnDigits):
    def make(self):
        return LogSpectralDistance()
