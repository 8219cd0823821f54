"""The mel front end: known spectra, known levels, a way back, and the error where torchaudio does not load."""

import builtins
import math
import subprocess
import sys

import pytest
import torch

from limbeck_audio.signal import mel as frontend
from limbeck_audio.signal.mel import (
    CLIP,
    HOP,
    MELS,
    RATE,
    SPACE,
    MelCodec,
    TorchaudioError,
    mel_filters,
    resample,
    to_decibels,
    to_power,
    to_value,
    torchaudio,
    unmel,
)

CODEC = SPACE.codec


def tone(hertz, amplitude=0.1, samples=CLIP, rate=RATE):
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / rate)[None]


def test_a_tone_on_a_bin_has_the_mel_power_that_the_window_gives_it():
    # a Hann window of N samples sees amplitude A as |X| = A N / 4 in its bin and half of it in both neighbours
    amplitude, bin_ = 0.2, 100
    value = CODEC.encode(tone(bin_ * RATE / 1024, amplitude))[0, 0]
    lines = torch.zeros(513, dtype=torch.float64)
    lines[[bin_ - 1, bin_, bin_ + 1]] = (amplitude * 1024 / 4) ** 2 * torch.tensor([0.25, 1.0, 0.25]).double()
    expected = (10 * (lines @ mel_filters(dtype=torch.float64)).clamp_min(1e-5).log10() + 15) / 35
    torch.testing.assert_close(value[:, 30], expected, rtol=0, atol=2e-3)  # leakage beyond the three lines
    assert 0.5 < value[:, 30].max() < 1.1  # a loud tone lies near the top of the range
    assert (value[:, 30] > -1).sum() <= 4  # and rings in few mels


def test_silence_is_minus_one_and_levels_are_decibels():
    value = CODEC.encode(torch.zeros(1, CLIP))
    assert value.shape == (1, 1, MELS, 64) and bool((value == -1).all())
    soft, loud = (CODEC.encode(tone(1000, a)) for a in (0.05, 0.1))
    heard = soft > -0.9
    assert heard.any()
    torch.testing.assert_close((loud - soft)[heard], torch.full((int(heard.sum()),), 20 * math.log10(2) / 35).double())
    assert to_decibels(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [-50.0, -15.0, 20.0]


def test_value_and_power_go_there_and_back():
    power = torch.tensor([1e-5, 1e-3, 1.0, 100.0], dtype=torch.float64)
    value = to_value(power)
    torch.testing.assert_close(value, torch.tensor([-1.0, -15 / 35, 15 / 35, 1.0], dtype=torch.float64))
    torch.testing.assert_close(to_power(value) + 1e-5, power)
    assert to_power(torch.tensor([-1.0, -7.0, math.nan])).tolist() == [0.0, 0.0, 0.0]


def test_a_later_sound_is_the_same_spectrogram_later():
    click = torch.zeros(1, CLIP)
    click[0, 5000:5400] = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 0.1
    early, late = CODEC.encode(click), CODEC.encode(click.roll(3 * HOP, 1))
    torch.testing.assert_close(late[..., 3:], early[..., :-3])
    assert early[0, 0, :, 20].max() > 0 and early[0, 0, :, 30].max() == -1


def test_encode_is_differentiable_and_decode_is_not():
    sound = tone(700, 0.05, samples=2048).requires_grad_(True)
    weight = torch.randn(1, 1, MELS, 8, generator=torch.Generator().manual_seed(1)).double()
    (gradient,) = torch.autograd.grad((CODEC.encode(sound) * weight).sum(), sound)
    direction = torch.randn(sound.shape, generator=torch.Generator().manual_seed(2)).double()
    step = 1e-6
    with torch.no_grad():
        there, back = (CODEC.encode(sound + sign * step * direction) for sign in (1, -1))
    expected = ((there - back) * weight).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-4)
    assert expected.abs() > 1e-2
    assert not CODEC.decode(torch.zeros(1, 1, MELS, 8, requires_grad=True)).requires_grad


def test_unmel_is_never_negative_and_has_the_mels_asked_for():
    g = torch.Generator().manual_seed(0)
    linear = torch.rand(2, 513, 5, generator=g) ** 4 * 10
    filters = mel_filters()
    power = (linear.transpose(1, 2) @ filters).transpose(1, 2)
    found = unmel(power, filters)
    assert found.min() >= 0
    again = (found.transpose(1, 2) @ filters).transpose(1, 2)
    cut = (power.transpose(1, 2) @ torch.linalg.pinv(filters)).clamp_min(0)
    rough = (cut @ filters).transpose(1, 2)
    error, before = ((x / power).log10().abs().mean() * 10 for x in (again, rough))
    assert error < 0.1 and error < 0.6 * before  # dB: the updates are worth having


def test_decoding_keeps_pitch_level_and_length():
    for hertz in (440.0, 3000.0):
        heard = CODEC.decode(CODEC.encode(tone(hertz, 0.1).float()))
        assert heard.shape == (1, CLIP) and heard.abs().max() <= 1
        spectrum = torch.fft.rfft(heard[0]).abs()
        assert abs(spectrum.argmax().item() * RATE / CLIP - hertz) < 0.04 * hertz + 10  # mels are that wide
        assert abs(20 * math.log10(heard.square().mean().sqrt() / (0.1 / math.sqrt(2)))) < 1.5  # dB
    assert CODEC.decode(torch.full((1, 1, MELS, 64), -1.0)).abs().max() == 0


def test_decoding_is_no_matter_of_chance_or_of_neighbours():
    value = torch.rand(3, 1, MELS, 16, generator=torch.Generator().manual_seed(0)) * 1.5 - 1
    together, torch_state = MelCodec(iterations=4).decode(value), torch.random.get_rng_state()
    torch.testing.assert_close(MelCodec(iterations=4, chunk=1).decode(value), together, rtol=0, atol=1e-5)
    assert torch.equal(MelCodec(iterations=4).decode(value), together)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert MelCodec().decode(value[:0]).shape == (0, 16 * HOP)
    broken = value.clone()
    broken[0, 0, 3, 3] = math.nan
    assert torch.isfinite(MelCodec(iterations=2).decode(broken)).all()


def test_resampling_keeps_frequency_and_amplitude():
    sound = resample(tone(1000, 0.3, samples=22050, rate=22050).float(), 22050)
    assert sound.shape == (1, RATE)
    torch.testing.assert_close(sound[0, 2000:14000], tone(1000, 0.3).float()[0, 2000:14000], rtol=0, atol=2e-3)
    assert resample(sound, RATE) is sound


@pytest.mark.parametrize("shape", [(1, CLIP + 1), (1, 2, CLIP), (1, 512), (CLIP,)])
def test_other_shapes_of_sound_are_refused_with_the_hint(shape):
    with pytest.raises(ValueError, match=r"a multiple of 256 above 512; got .*Pad clips"):
        CODEC.encode(torch.zeros(shape))


def test_other_shapes_of_mels_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 1, 64, F\); got \(2, 64, 64\)"):
        CODEC.decode(torch.zeros(2, 64, 64))


def test_codecs_that_agree_have_one_fingerprint():
    assert CODEC.fingerprint() == MelCodec(iterations=1).fingerprint() and "16000 Hz" in CODEC.fingerprint()


# --- torchaudio ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (OSError("libcudart.so.13: cannot open shared object file"), "libcudart.so.13.*torchaudio/lib/.*so"),
        (ImportError("undefined symbol: _ZN2at4cuda"), "undefined symbol.*whl/cpu"),
        (ModuleNotFoundError("No module named 'torchaudio'", name="torchaudio"), "pip install torchaudio"),
    ],
)
def test_a_torchaudio_that_does_not_load_is_reported_with_the_hint(monkeypatch, raised, message):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name.split(".")[0] == "torchaudio":
            raise raised
        return real(name, *args, **kwargs)

    torchaudio.cache_clear()
    monkeypatch.setattr(builtins, "__import__", broken)
    try:
        with pytest.raises(TorchaudioError, match=f"(?s){message}"):
            frontend.torchaudio()
    finally:
        monkeypatch.undo()
        torchaudio.cache_clear()


def test_torchaudio_loads_when_it_is_used_and_not_before():
    code = (
        "import sys, limbeck_audio.signal.mel, limbeck_audio.data.speech, limbeck_audio.metrics.speech\n"
        "import limbeck_audio.views.spectrograms\n"
        "assert not {'torchaudio', 'soundfile'} & set(sys.modules), 'loaded too early'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
