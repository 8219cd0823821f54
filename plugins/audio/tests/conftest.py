"""A few spoken digits, for tests of metrics and of the classifier."""

import pytest

from limbeck_audio.data.speech import SpokenDigits

SMALL = {"voices": ("en-us", "en+m2"), "held_out_voices": ("en-us+m3",), "pitches": (45,), "speeds": (120, 160)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = SpokenDigits(**SMALL)
        data.split("held_out")
        return data
