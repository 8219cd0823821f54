"""Spectrograms and players: where colours lie, that the page needs nothing outside, that files hold the sound."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from limbeck.pictures.views import picture
from limbeck.sampling.samples import Samples
from limbeck_audio.signal import files as wav
from limbeck_audio.signal.mel import CLIP, RATE, SPACE
from limbeck_audio.views import spectrograms as views
from limbeck_audio.views.spectrograms import PLAYERS, SoundGrid, coloured, mel, waveform


def tone(hertz=1000.0, rows=1):
    wave = 0.2 * torch.sin(2 * torch.pi * hertz * torch.arange(CLIP) / RATE)
    return wave.expand(rows, CLIP).clone()


def test_silence_is_dark_loud_is_bright_and_low_tones_are_at_the_bottom():
    mels = torch.full((1, 1, 64, 64), -1.0)
    mels[0, 0, 0, 10] = 1.0  # the lowest mel
    shown = coloured(mels)
    assert shown.shape == (1, 3, 64, 64)
    torch.testing.assert_close(shown[0, :, 0, 0], views.VIRIDIS[0])
    torch.testing.assert_close(shown[0, :, 63, 10], views.VIRIDIS[-1])
    middle = coloured(torch.full((1, 1, 64, 64), 0.1))[0, :, 5, 5]  # between anchors 5 and 6, halfway
    torch.testing.assert_close(middle, (views.VIRIDIS[5] + views.VIRIDIS[6]) / 2)
    luminance = torch.tensor([0.2126, 0.7152, 0.0722])
    brightness = coloured(torch.linspace(-1, 1, 64).expand(1, 1, 64, 64))[0, :, 0].T @ luminance
    assert bool((brightness.diff() > 0).all())  # readable in grey


def test_a_page_has_a_player_for_the_first_sounds_and_needs_nothing_else():
    mels = SPACE.codec.encode(tone(rows=PLAYERS + 3))
    page = mel(mels, torch.arange(PLAYERS + 3) % 10).html()
    assert page.count("<audio controls") == PLAYERS and page.count("<figcaption>") == PLAYERS
    assert "http" not in page and f"{3} more spectrograms" in page
    sound = re.search(r'src="data:audio/wav;base64,([^"]+)"', page)[1]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
    assert rate == RATE and abs(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples) - 1000) < 60
    assert len(mel(mels[:2]).html()) < 2 * 60_000 and "more spectrograms" not in mel(mels[:2]).html()


def test_captions_are_escaped_and_must_be_as_many():
    page = mel(torch.zeros(1, 1, 64, 64), captions=['<b>"x"']).html()
    assert "<b>" not in page and "&lt;b&gt;" in page
    with pytest.raises(ValueError, match="got 1 captions for 2 sounds"):
        mel(torch.zeros(2, 1, 64, 64), captions=["x"])


def test_files_hold_the_picture_and_the_sound(tmp_path):
    shown = mel(tone(500, rows=2))
    shown.save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").size == shown.image().size
    for suffix in ("wav", "flac"):
        mel(tone(500)).save(tmp_path / f"x.{suffix}")
        samples, rate = soundfile.read(tmp_path / f"x.{suffix}", dtype="float32")
        assert rate == RATE and np.abs(samples - tone(500)[0].numpy()).max() < 1e-4
    shown.save(tmp_path / "both.wav")
    assert soundfile.info(tmp_path / "both.wav").frames == 2 * CLIP + views.BETWEEN
    with pytest.raises(ValueError, match=r"'\.mid'.*\.png .*\.wav or \.flac"):
        shown.save(tmp_path / "x.mid")


def test_the_view_is_found_by_its_domain_and_decodes_only_what_is_played(monkeypatch, tmp_path):
    samples = Samples(SPACE.codec.encode(tone(rows=30)), torch.arange(30) % 10, SPACE)
    decoded = []
    real = type(SPACE.codec).decode
    monkeypatch.setattr(
        type(SPACE.codec), "decode", lambda self, value: decoded.append(len(value)) or real(self, value)
    )
    shown = samples.picture()
    assert isinstance(shown, SoundGrid) and not shown.still
    samples.save(tmp_path / "grid.png")
    assert decoded == []
    shown.html()
    assert decoded == [PLAYERS]
    assert samples.seen().shape == (30, CLIP)  # all of them on request


def test_broken_values_are_drawn_and_do_not_raise():
    mels = torch.stack([torch.full((1, 64, 64), value) for value in (float("nan"), 9.0, -9.0)])
    assert mel(mels).html().count("<audio") == 3


def test_waveforms_of_pipelines_are_shown_too():
    stereo = 0.2 * torch.sin(2 * torch.pi * 1000 * torch.arange(44_100) / 44_100).expand(1, 2, 44_100)
    shown = picture(stereo, domain="waveform")
    assert shown.mels[0, 0, :, 30].argmax() == mel(tone(1000)).mels[0, 0, :, 30].argmax()
    assert waveform(torch.zeros(2, 2, 64)).html().count("<audio") == 2  # shorter than a window


def test_what_is_no_sound_is_refused():
    with pytest.raises(ValueError, match=r"log-mels \(N, 1, 64, F\) or waveforms .*got \(2, 3, 8, 8\)"):
        mel(torch.zeros(2, 3, 8, 8))


def test_sound_files_are_16_bit_cut_at_full_scale_and_read_back(tmp_path):
    wav.write(tmp_path / "x.wav", torch.tensor([0.0, 0.5, 3.0, -3.0, float("nan")]))
    samples, rate = wav.read(tmp_path / "x.wav")
    assert rate == RATE and samples.shape == (5, 1)
    torch.testing.assert_close(samples[:, 0], torch.tensor([0.0, 0.5, 1.0, -1.0, 0.0]), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match=r"'\.mp4'. Use \.wav or \.flac"):
        wav.write(tmp_path / "x.mp4", torch.zeros(5))
    (tmp_path / "no.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError):
        wav.read(tmp_path / "no.wav")
