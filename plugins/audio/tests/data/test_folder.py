"""A folder of sounds as people have them: other rates, two channels, long, silent, clipped, broken files."""

import math
import warnings

import numpy as np
import pytest
import soundfile
import torch

from limbeck.data.folder import Unusable
from limbeck.errors import LimbeckError
from limbeck.randomness import Rng
from limbeck_audio.data.folder import AudioFolder, converted
from limbeck_audio.options.data import AudioFolderOptions
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.mel import CLIP, RATE, SPACE

OPTIONS = AudioFolderOptions(path="x")


def tone(seconds=0.5, hertz=1000.0, rate=RATE, amplitude=0.3):
    return (amplitude * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("float32")


def sound(*args, **kwargs):
    return torch.from_numpy(tone(*args, **kwargs))[:, None]


def save(path, samples, rate=RATE, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **kwargs)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path_factory, monkeypatch):
    kept = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIMBECK_CACHE", str(kept))
    yield kept


@pytest.fixture
def mixed(tmp_path):
    """Ten usable files of two words, four that are not, and something that is no sound."""
    root = tmp_path / "sounds"
    for k in range(8):
        save(root / "go" / f"{k}.wav", tone(hertz=400 + 50 * k))
    stereo = np.stack([tone(0.6, rate=44_100), tone(0.6, hertz=500, rate=44_100)], axis=1)
    save(root / "stop" / "a.flac", stereo, 44_100)
    save(root / "stop" / "b.ogg", tone(0.7, rate=22_050), 22_050)
    save(root / "stop" / "silent.wav", np.zeros(8000, dtype="float32"))
    save(root / "stop" / "loud.wav", np.clip(tone(amplitude=3.0), -1, 1))
    save(root / "stop" / "short.wav", tone(0.02))
    (root / "stop" / "broken.wav").write_bytes(b"RIFF and nothing")
    (root / "notes.txt").write_text("no sound")
    return root


# --- one file --------------------------------------------------------------------------------------------------------


def test_a_good_file_is_trimmed_and_brought_to_one_loudness_and_length_without_a_word():
    quiet = torch.cat([torch.zeros(9000, 1), 0.02 * sound(0.5) / 0.3, torch.zeros(200, 1)])
    clips, notes = converted(quiet, RATE, OPTIONS)
    assert notes == [] and clips.shape == (1, CLIP)
    loud = torch.nonzero(clips[0]).flatten()
    assert abs(int(loud[0]) - (CLIP - 1 - int(loud[-1]))) <= 4 and abs(len(clips[0][loud[0] : loud[-1]]) - 8000) < 20
    assert clips[0, loud[0] : loud[-1]].square().mean().sqrt().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled_and_noted(rate):
    clips, notes = converted(sound(0.5, rate=rate), rate, OPTIONS)
    assert notes == [f"resampled from {rate:,} Hz to 16,000 Hz"]
    peak = torch.fft.rfft(clips[0]).abs().argmax().item() * RATE / CLIP
    assert abs(peak - 1000) < 2


def test_channels_are_mixed_down_and_noted():
    both = torch.cat([sound(hertz=1000), sound(hertz=3000)], dim=1)
    clips, notes = converted(both, RATE, OPTIONS)
    assert notes == ["mixed from 2 channels to one"]
    spectrum = torch.fft.rfft(clips[0]).abs()
    low, high = (spectrum[round(hertz * CLIP / RATE)].item() for hertz in (1000, 3000))
    assert low == pytest.approx(high, rel=0.05) and low > 100
    with pytest.raises(Unusable, match="nothing in it is louder"):  # opposite channels leave nothing
        converted(torch.cat([sound(), -sound()], dim=1), RATE, OPTIONS)


def test_long_files_are_cut_shortened_or_refused_as_chosen():
    long = sound(2.5)
    clips, notes = converted(long, RATE, OPTIONS)
    assert len(clips) == 3 and notes == ["longer than 1.024 s: cut into clips"]
    assert bool((clips.abs().amax(dim=1) > 0.1).all())
    first, notes = converted(long, RATE, OPTIONS.model_copy(update={"long": "first"}))
    assert torch.equal(first, clips[:1]) and notes == ["longer than 1.024 s: cut short"]
    with pytest.raises(Unusable, match=r"2\.50 s, and a clip is 1\.024 s") as refused:
        converted(long, RATE, OPTIONS.model_copy(update={"long": "skip"}))
    assert refused.value.kind == "too long"
    with_rest, _ = converted(sound(1.024 + 0.05), RATE, OPTIONS)
    assert len(with_rest) == 1  # a rest under min_seconds is no clip


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (torch.zeros(8000, 1), "silent"),
        (torch.zeros(0, 1), "silent"),
        (1e-5 * sound(), "silent"),
        (sound(amplitude=3.0).clamp(-1, 1), "clipped"),
        (sound(0.05), "too short"),
        (sound() * float("nan"), "not finite"),
    ],
)
def test_what_no_clip_can_be_made_of_has_a_reason(samples, kind):
    with pytest.raises(Unusable) as refused:
        converted(samples, RATE, OPTIONS)
    assert refused.value.kind == kind and kind in AudioFolder.hints


def test_a_file_that_is_merely_loud_is_kept():
    peaks = sound(amplitude=0.9)
    peaks[::400] = 1.0  # 0.25 % at full scale
    assert len(converted(peaks, RATE, OPTIONS)[0]) == 1
    with pytest.raises(Unusable, match="% of its samples are at full scale"):
        converted(peaks, RATE, OPTIONS.model_copy(update={"clipped": 0.001}))


# --- a folder --------------------------------------------------------------------------------------------------------


def test_a_folder_is_converted_counted_and_split_by_files(mixed):
    with pytest.warns(UserWarning) as warned:
        data = AudioFolder(path=str(mixed))
    text = " ".join(str(w.message) for w in warned)
    assert "4 of 14 files left out" in text
    for part in ("1 unreadable (stop/broken.wav)", "1 silent (stop/silent.wav)", "1 clipped (stop/loud.wav)",
                 "1 too short (stop/short.wav)", "resampled from 44,100 Hz", "resampled from 22,050 Hz",
                 "mixed from 2 channels"):  # fmt: skip
        assert part in text
    assert data.words == ("go", "stop") and data.space is SPACE
    held_out = data.split("held_out")
    assert len(data) + len(held_out) == 10 and len(held_out) == 2  # one of every class
    assert not set(data.files) & set(held_out.files) and sorted(held_out.labels.tolist()) == [0, 1]
    batch = data.batch(torch.tensor([0, len(data) - 1]))
    assert batch.x0.shape == (2, 1, 64, 64) and batch.cond.tolist() == [0, 1] and batch.x0.max() > 0
    assert set(data.conditions(50, Rng(0)).tolist()) == {0, 1}
    assert data.notes["left_out"]["silent"] == ["stop/silent.wav"]


def test_the_first_bad_file_ends_the_run_if_chosen(mixed):
    with pytest.raises(LimbeckError, match=r"broken\.wav is unreadable.*ffmpeg.*data\.bad_files=skip"):
        AudioFolder(path=str(mixed), bad_files="error")


def test_what_was_decoded_is_kept_by_content_and_still_reported(mixed, fresh_cache, monkeypatch):
    with pytest.warns(UserWarning):
        first = AudioFolder(path=str(mixed))
    with monkeypatch.context() as patch:
        patch.setattr(wav, "read", lambda path: pytest.fail("decoded again"))
        with pytest.warns(UserWarning) as warned:
            assert torch.equal(AudioFolder(path=str(mixed)).rows, first.rows)
    assert any("4 of 14 files left out" in str(w.message) for w in warned)
    save(mixed / "go" / "0.wav", tone(hertz=2000))  # same name, other sound
    with pytest.warns(UserWarning):
        changed = AudioFolder(path=str(mixed))
    both = (
        torch.cat([changed.rows, changed.split("held_out").rows]),
        torch.cat([first.rows, first.split("held_out").rows]),
    )
    assert not torch.equal(*both) and len(list((fresh_cache / "audio_folder").iterdir())) == 15  # one more


def test_files_in_no_folder_have_no_class(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.wav", tone(hertz=300 * (k + 1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to report
        data = AudioFolder(path=str(tmp_path))
    assert data.words is None and data.batch(torch.tensor([0])).cond is None and data.conditions(5, Rng(0)) is None
    assert len(data) == 2 and len(data.split("held_out")) == 1
    save(tmp_path / "word" / "x.wav", tone())
    with pytest.raises(LimbeckError, match=r"3 files lie in none \(0\.wav\).*data\.labels=none"):
        AudioFolder(path=str(tmp_path))
    assert AudioFolder(path=str(tmp_path), labels="none").words is None


def test_pieces_of_one_recording_stay_on_one_side(tmp_path):
    for k in range(2):
        save(tmp_path / f"{k}.wav", tone(4.0, hertz=300 * (k + 1)))
    with pytest.warns(UserWarning, match="2 longer than 1.024 s: cut into clips"):
        data = AudioFolder(path=str(tmp_path))
    assert len(set(data.files)) == 1 and len(data) == 4 and set(data.split("held_out").files) != set(data.files)


def test_folders_without_anything_usable_are_refused_with_the_hint(tmp_path):
    with pytest.raises(LimbeckError, match="no folder '.*nowhere'"):
        AudioFolder(path=str(tmp_path / "nowhere"))
    with pytest.raises(LimbeckError, match=r"no \.wav, \.flac, \.ogg, \.mp3 file below"):
        AudioFolder(path=str(tmp_path))
    save(tmp_path / "x.wav", np.zeros(8000, dtype="float32"))
    with pytest.raises(LimbeckError, match=r"nothing in .* can be used; 1 of 1 files left out: 1 silent \(x\.wav\)"):
        AudioFolder(path=str(tmp_path))
    save(tmp_path / "x.wav", tone())
    assert len(AudioFolder(path=str(tmp_path))) == 1
    with pytest.raises(LimbeckError, match="add a second one"):
        AudioFolder(path=str(tmp_path), split="held_out")
