"""espeak-ng: the same sounds for the same call, and errors that name what to install."""

import sys

import pytest

from limbeck_audio.synthesis import espeak as voices
from limbeck_audio.synthesis.espeak import SpeechError, Utterance, synthesize


def test_voices_always_sound_the_same_whatever_was_synthesized_before():
    # f2 breathes: its noise is seeded by the clock unless a seed is set
    first, rate = synthesize("en+f2", [Utterance("seven"), Utterance("two", speed=120)])
    synthesize("en-us+m3", [Utterance("nothing")])
    again, _ = synthesize("en+f2", [Utterance("seven"), Utterance("two", speed=120)])
    assert rate == 22050 and all((a == b).all() for a, b in zip(first, again, strict=True))
    assert len(first) == 2 and 0.2 < len(first[0]) / rate < 1 and abs(first[0]).max() > 0.1


def test_an_unknown_voice_names_itself():
    with pytest.raises(SpeechError, match="no voice 'klingon-x'.*espeak-ng --voices"):
        synthesize("klingon-x", [Utterance("go")])


def test_without_espeak_both_cures_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    voices._library.cache_clear()
    try:
        with pytest.raises(SpeechError, match=r"limbeck-audio\[speech\].*apt install libespeak-ng1.*audio_folder"):
            synthesize("en-us", [Utterance("go")])
    finally:
        voices._library.cache_clear()


def test_a_library_that_does_not_load_is_reported(monkeypatch, tmp_path):
    (tmp_path / "libespeak-ng.so").write_bytes(b"no library")
    monkeypatch.setattr(voices, "_library", lambda: (str(tmp_path / "libespeak-ng.so"), None))
    with pytest.raises(SpeechError, match="does not load.*apt install libespeak-ng1"):
        synthesize("en-us", [Utterance("go")])


def test_a_library_without_its_voices_is_reported(monkeypatch, tmp_path):
    found, _ = voices._library()
    monkeypatch.setattr(voices, "_library", lambda: (found, str(tmp_path)))
    with pytest.raises(SpeechError, match="cannot read its voices.*[Rr]einstall"):
        synthesize("en-us", [Utterance("go")])
