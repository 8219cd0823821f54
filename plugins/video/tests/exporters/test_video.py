"""Exporters of videos leave whole files or none."""

import json
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image
from video_files import reloaded

from limbeck.errors import LimbeckError, NonFinite, RunExists
from limbeck.interfaces import Space
from limbeck.sampling.samples import Samples
from limbeck_video.data.moving_digits import SPACE, MovingDigits
from limbeck_video.encoding import video
from limbeck_video.exporters import video as exporters


class Streaming:
    def stream(self, model, cond, *, steps, rng, frames=None, batch_size=None):
        clips = MovingDigits("held_out", frames=60).batch(torch.arange(len(cond))).x0
        yield from clips.split(3, dim=1)


class Student(torch.nn.Module):
    space = SPACE


def run_of(clips=None, sampler=None):
    """What exporters ask of a run: clips to look at, or a sampler that streams."""
    data = MovingDigits("held_out")

    def sample(n, seed=0):
        value = data.batch(torch.arange(n)).x0 if clips is None else clips
        return Samples(value, data.batch(torch.arange(n)).cond, Space(tuple(value.shape[1:]), domain="clip"))

    built = SimpleNamespace(generator=Student(), data=data, sampler=sampler, sampling_steps=4)
    return SimpleNamespace(sample=sample, built=built, generator=Student)


def test_mp4s_and_what_is_on_them(tmp_path):
    files = exporters.export_mp4(run_of(), tmp_path / "out", count=3, fps=12)
    assert [f.name for f in files] == ["clip-01.mp4", "clip-02.mp4", "clip-03.mp4", "clips.json"]
    frames, rate = reloaded(files[1])
    assert frames.shape == (12, 160, 160, 3) and rate == pytest.approx(12)
    wanted = video.pictures(MovingDigits("held_out").batch(torch.tensor([1])).x0[0], 8).astype(int)
    assert numpy.abs(frames - wanted).mean() < 3
    facts = json.loads(files[-1].read_text())
    assert facts["frames"] == 12 and facts["fps"] == 12 and facts["enlarged"] == 8
    labels = MovingDigits("held_out").batch(torch.arange(3)).cond.tolist()
    assert [c["condition"] for c in facts["clips"]] == labels
    with pytest.raises(RunExists, match="not empty"):
        exporters.export_mp4(run_of(), tmp_path / "out", count=1)
    exporters.export_mp4(run_of(), tmp_path / "out", count=1, overwrite=True)


def test_gifs_of_long_rollouts(tmp_path):
    files = exporters.export_gif(run_of(sampler=Streaming()), tmp_path, count=2, frames=25)
    with Image.open(files[0]) as image:
        assert image.n_frames >= 20 and image.size == (160, 160)  # equal neighbours may be merged
    assert json.loads(files[-1].read_text())["frames"] == 25
    with pytest.raises(LimbeckError, match="whole clips of 12 frames, so 25 are not possible.*use: streaming"):
        exporters.export_gif(run_of(sampler=object()), tmp_path / "other", frames=25)
    assert not (tmp_path / "other").exists()


def test_an_interrupted_export_leaves_whole_files_only(tmp_path, monkeypatch):
    before, made = video.mp4, []

    def interrupted(frames, fps):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return before(frames, fps)

    monkeypatch.setattr(video, "mp4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exporters.export_mp4(run_of(), tmp_path, count=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip-01.mp4", "clip-02.mp4"]
    assert all(len(reloaded(p)[0]) == 12 for p in tmp_path.iterdir())


def test_clips_that_are_none_are_refused(tmp_path):
    with pytest.raises(NonFinite, match="not finite"):
        exporters.export_mp4(run_of(torch.full((1, 12, 1, 20, 20), float("nan"))), tmp_path / "a")
    with pytest.raises(LimbeckError, match=r"videos are made of clips \(N, F, C, H, W\), and this .* \(8, 3"):
        exporters.export_mp4(run_of(torch.zeros(8, 3, 4, 4)), tmp_path / "b")
    assert not (tmp_path / "a").exists()


def test_a_run_takes_the_gif_of_its_own_modality():
    from limbeck.plugins.registry import registry
    from limbeck.runs.run import Run

    run = object.__new__(Run)
    run.__dict__["recipe"] = SimpleNamespace(generator=SimpleNamespace(use="video/moving_digits"))
    assert [e.qualified for e in registry.components("exporter", "video") if e.component.name == "gif"] == ["video/gif"]
    assert run._own_exporter("mp4") in ("mp4", "video/mp4") and run._own_exporter("torch") == "torch"
    if len([e for e in registry.components("exporter") if e.component.name == "gif"]) > 1:  # limbeck-3d is there too
        assert run._own_exporter("gif") == "video/gif"
