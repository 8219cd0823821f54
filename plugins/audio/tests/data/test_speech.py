"""Spoken words: which rows there are, that they are always the same, how they are kept, and what bad options get."""

import pytest
import torch

from limbeck import disk_cache
from limbeck.errors import LimbeckError
from limbeck.randomness import Rng
from limbeck_audio.data import speech
from limbeck_audio.data.speech import SpokenDigits, SpokenWords, spoken
from limbeck_audio.features.mel_convnet import describe
from limbeck_audio.options.data import HELD_OUT_VOICES, TRAIN_VOICES
from limbeck_audio.signal import clips
from limbeck_audio.signal.mel import CLIP, RATE, SPACE
from limbeck_audio.synthesis import espeak as voices

SMALL = {"voices": ("en-us", "en+f2"), "held_out_voices": ("en-us+m3",), "pitches": (50,), "speeds": (120, 160)}


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    speech._mels.cache_clear()
    yield tmp_path
    speech._mels.cache_clear()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        return SpokenDigits(**SMALL)


def test_rows_run_over_voices_words_and_speeds(digits):
    assert len(digits) == 2 * 10 * 2 and digits.space is SPACE and SPACE.event == (1, 64, 64)
    assert digits.labels[:6].tolist() == [0, 0, 1, 1, 2, 2] and digits.labels[20:24].tolist() == [0, 0, 1, 1]
    assert [digits.voice(row) for row in (0, 19, 20, 39)] == ["en-us", "en-us", "en+f2", "en+f2"]
    batch = digits.batch(torch.tensor([39, 0]))
    assert batch.x0.shape == (2, 1, 64, 64) and batch.x0.dtype == torch.float32
    assert batch.cond.tolist() == [9, 0] and batch.cond.dtype == torch.int64
    assert batch.x0.min() >= -1 and batch.x0.max() < 1.2


def test_words_sound_like_themselves(digits):
    x0, labels = digits.mels.float(), digits.labels
    assert (describe(x0)[1] == labels).double().mean() > 0.9  # the classifier was trained on other pitches
    spans = (x0.amax(dim=(1, 2)) > -0.8).sum(dim=1).float()  # frames with sound
    assert spans.min() > 15 and spans.max() < 60
    slow, fast = spans[0::2].mean(), spans[1::2].mean()
    assert 1.15 < slow / fast < 1.5  # 160 words a minute against 120


def test_a_clip_is_of_one_loudness_and_in_the_middle(digits):
    sound = digits.sound(13)  # "six", fast
    assert sound.shape == (CLIP,)
    torch.testing.assert_close(SPACE.codec.encode(sound[None])[0].half(), digits.mels[13], rtol=0, atol=2e-3)
    loud = clips.trimmed(sound)
    assert loud.square().mean().sqrt() == pytest.approx(clips.LOUDNESS, rel=0.05)
    first, last = torch.nonzero(sound)[[0, -1], 0].tolist()
    assert abs(first - (CLIP - 1 - last)) <= 2


def test_held_out_voices_say_the_same_words_and_are_never_heard_in_training(digits):
    held_out = digits.split("held_out")
    assert held_out.voices == ("en-us+m3",) and len(held_out) == 20 and len(held_out.split("train")) == 40
    assert torch.cdist(held_out.mels.flatten(1).float(), digits.mels.flatten(1).float()).min() > 1
    throats = {voice.partition("+")[2] for voice in HELD_OUT_VOICES}
    assert not throats & {voice.partition("+")[2] for voice in TRAIN_VOICES}


def test_conditions_are_drawn_like_rows(digits):
    drawn = digits.conditions(200, Rng(0))
    assert drawn.shape == (200,) and set(drawn.tolist()) == set(range(10))


def test_the_same_bits_come_from_the_disk_without_saying_anything(fresh_cache, monkeypatch):
    options = {**SMALL, "voices": ("en-us",), "words": ("go", "stop")}
    made = SpokenWords(**options)
    (kept,) = (fresh_cache / "speech").glob("*.safetensors")
    speech._mels.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(voices, "synthesize", lambda *_: pytest.fail("synthesized again"))
        assert torch.equal(SpokenWords(**options).mels, made.mels)
    torn = fresh_cache / "torn"
    torn.write_bytes(kept.read_bytes()[:100])
    torn.replace(kept)  # not cut in place: what was loaded is still mapped to it
    speech._mels.cache_clear()
    assert torch.equal(SpokenWords(**options).mels, made.mels)
    speech._mels.cache_clear()
    assert len(SpokenWords(**options, split="held_out")) == 4
    assert len(list((fresh_cache / "speech").iterdir())) == 2  # other voices, another file; nothing half written


def test_a_cache_that_cannot_be_written_costs_a_warning_only(fresh_cache, monkeypatch):
    (fresh_cache / "file").write_text("no folder")
    monkeypatch.setenv("LIMBECK_CACHE", str(fresh_cache / "file"))
    with pytest.warns(UserWarning, match="could not be kept: .*made again next time"):
        assert len(SpokenWords(**{**SMALL, "voices": ("en-us",), "words": ("go",)})) == 2


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "a"))
    assert disk_cache.folder() == tmp_path / "a"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert disk_cache.folder() == tmp_path / "b" / "limbeck"


def test_words_of_ones_own_are_classes_in_their_order(fresh_cache):
    data = SpokenWords(**{**SMALL, "voices": ("en-us",), "words": ("left", "right", "hello")})
    assert data.words == ("left", "right", "hello") and data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    one, other = data.mels[0].float(), data.mels[2].float()
    assert (one - other).abs().mean() > 0.05


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voices": ("en-us",), "held_out_voices": ("en-us",)}, "never trained on, but en-us is among both"),
        ({"words": ("go", "go")}, "given twice"),
        ({"words": ("go", " ")}, "a word to speak"),
        ({"speeds": (20,)}, "greater than or equal to 80"),
        ({"pitches": (100,)}, "less than or equal to 99"),
        ({"voices": ("en us; rm",)}, "pattern"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpokenWords.Options(**{**SMALL, **options})


def test_a_word_longer_than_a_clip_names_itself_and_the_hint():
    with pytest.raises(LimbeckError, match=r"'incomprehensibility' takes .* a clip is 1\.024 s.*shorter words"):
        spoken("en-us", ("incomprehensibility",), (50,), (80,))


def test_the_licence_says_what_the_sound_is():
    assert "GPL-3.0" in SpokenDigits.licence and RATE == 16000
