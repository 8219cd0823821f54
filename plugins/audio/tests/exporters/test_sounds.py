"""The exporter `wav`: files that open anywhere, named after their words."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from limbeck.errors import LimbeckError, NonFinite, RunExists
from limbeck.interfaces import Batch, Data, Sample, Sampler, Space
from limbeck.process.gaussian import RectifiedFlow
from limbeck.testing import GaussianTeacher
from limbeck_audio.exporters.sounds import export_wav
from limbeck_audio.signal.mel import CLIP, RATE, SPACE


class Words(Data):
    space, words = SPACE, ("left", "right turn")

    def __len__(self):
        return 4

    def batch(self, indices):
        return Batch(x0=torch.zeros(len(indices), 1, 64, 64), cond=indices % 2)


class Tones(Sampler):
    """A tone of 1 kHz under label 0, one of 3 kHz under label 1."""

    def __call__(self, predictor, cond, *, steps, rng, batch_size=None, noise=None):
        hertz = torch.where(cond == 0, 1000.0, 3000.0)[:, None]
        value = SPACE.codec.encode(0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(CLIP) / RATE))
        return Sample(value=value, at=value, t_from=1.0, t_to=0.0, evaluations=steps)


def run_of(space=SPACE, sampler=None):
    network = GaussianTeacher(RectifiedFlow(), torch.zeros(space.event), 1.0, space=space)
    built = SimpleNamespace(sampler=sampler or Tones(), sampling_steps=2, data=Words())
    return SimpleNamespace(generator=lambda: network, built=built)


READ = """
import json, sys, numpy, soundfile
found = {}
for path in sys.argv[1:]:
    samples, rate = soundfile.read(path)
    assert 'limbeck' not in sys.modules
    peak = abs(numpy.fft.rfft(samples)).argmax() * rate / len(samples)
    found[path.rsplit('/', 1)[-1]] = [rate, samples.ndim, len(samples), float(peak), soundfile.info(path).subtype]
print(json.dumps(found))
"""


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_every_sample_is_a_file_that_opens_without_us(tmp_path, form):
    paths = export_wav(run_of(), tmp_path / "out", count=4, format=form)
    names = [path.name for path in paths]
    words = ["left", "right_turn"] * 2
    assert names == [f"{k:03d}-{word}.{form}" for k, word in enumerate(words)] + ["samples.json"]
    read = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths[:4])], check=True, capture_output=True, text=True
    )
    for name, (rate, axes, length, peak, subtype) in json.loads(read.stdout).items():
        assert (rate, axes, length, subtype) == (RATE, 1, CLIP, "PCM_16")
        assert abs(peak - (3000 if "right" in name else 1000)) < 130
    facts = json.loads(paths[-1].read_text())
    assert facts["rate"] == RATE and facts["seconds"] == 1.024 and facts["evaluations"] == 2
    assert facts["samples"][1] == {"file": f"001-right_turn.{form}", "word": "right turn"}
    assert "Griffin-Lim" in facts["vocoder"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunExists, match="not empty"):
        export_wav(run_of(), tmp_path, count=1)
    assert len(export_wav(run_of(), tmp_path, count=1, overwrite=True)) == 2 and (tmp_path / "mine.txt").exists()


def test_what_makes_no_sound_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(LimbeckError, match="writes sound; the generator of this run is GaussianTeacher"):
        export_wav(run_of(Space((1, 8, 8), domain="pixels")), tmp_path / "out")

    class Broken(Tones):
        def __call__(self, *args, **kwargs):
            made = super().__call__(*args, **kwargs)
            return Sample(value=made.value * float("nan"), at=made.at, t_from=1.0, t_to=0.0, evaluations=1)

    with pytest.raises(NonFinite, match="earlier checkpoint"):
        export_wav(run_of(sampler=Broken()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'wav' or 'flac'"):
        export_wav(run_of(), tmp_path / "out", format="mp3")
