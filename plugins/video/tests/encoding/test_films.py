"""Films: they reload to the frames that went in, views show them, exporters leave whole files or none."""

import base64
import io
import json
import re
from types import SimpleNamespace

import av
import numpy
import pytest
import torch
from PIL import Image

from limbeck.errors import LimbeckError, NonFinite, RunExists
from limbeck.interfaces import Space
from limbeck.pictures.views import picture
from limbeck.sampling.samples import Samples
from limbeck_video.data.moving_digits import SPACE, MovingDigits
from limbeck_video.encoding import video as film
from limbeck_video.exporters import video as exporters
from limbeck_video.views.clips import CELL, GAP, ClipGrid, clip


def reloaded(data):
    """(frames (F, H, W, 3), frames per second) of an MP4."""
    with av.open(io.BytesIO(data) if isinstance(data, bytes) else str(data)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate)
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        return numpy.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), rate


def levels(count, height=20, width=20):
    """A film whose k-th frame is grey level 20 k."""
    return numpy.broadcast_to(
        (20 * numpy.arange(count, dtype=numpy.uint8))[:, None, None, None], (count, height, width, 3)
    )


@pytest.mark.parametrize("fps", [10.0, 7.5, 30.0])
def test_an_mp4_reloads_to_the_same_frames_and_rate(fps):
    frames, rate = reloaded(film.mp4(levels(11), fps))
    assert frames.shape == (11, 20, 20, 3) and rate == pytest.approx(fps)
    assert numpy.abs(frames.astype(int) - levels(11)).max() <= 6, "H.264 loses a little"


def test_odd_sides_and_an_odd_number_of_frames_are_written():
    frames, _ = reloaded(film.mp4(levels(7, 21, 33), 10))
    assert frames.shape == (7, 22, 34, 3), "one more row and column, repeated"
    assert numpy.abs(frames[:, :21, :33].astype(int) - levels(7, 21, 33)).max() <= 6
    assert reloaded(film.mp4(levels(1, 2, 2), 10))[0].shape == (1, 2, 2, 3)


def test_a_gif_keeps_every_grey_level_and_loops():
    data = film.gif(levels(12), fps=8)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 12 and image.info["loop"] == 0
        for k in range(12):
            image.seek(k)
            assert image.info["duration"] in (120, 130)  # hundredths of a second
            assert (numpy.asarray(image.convert("RGB")) == 20 * k).all()


def test_coloured_gifs_are_close():
    colours = numpy.zeros((3, 8, 8, 3), numpy.uint8)
    for k in range(3):
        colours[k, ..., k] = 200
    with Image.open(io.BytesIO(film.gif(colours))) as image:
        assert image.n_frames == 3
        image.seek(1)
        assert numpy.abs(numpy.asarray(image.convert("RGB")).astype(int) - colours[1]).max() < 12


def test_pixels_are_enlarged_by_whole_factors():
    tiny = torch.tensor([[-1.0, 1.0], [0.0, -1.0]]).view(1, 1, 2, 2)
    made = film.pictures(tiny, 3)
    assert made.shape == (1, 6, 6, 3) and made[0, :3, 3:].min() == 255 and set(made[0, 3:, :3].flatten()) == {128}
    assert film.zoom_to(160, 20, 20) == 8 and film.zoom_to(160, 480, 832) == 1 and film.zoom_to(50, 20, 40) == 3
    with pytest.raises(ValueError, match=r"\(F, C, H, W\) with C 1 or 3; got shape \(4, 2, 2\)"):
        film.pictures(torch.zeros(4, 2, 2))


# --- the view --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six():
    return MovingDigits("held_out").batch(torch.arange(6))


def test_the_page_shows_moving_clips(six):
    shown = picture(six.x0, six.cond, domain="clip")
    assert (
        isinstance(shown, ClipGrid)
        and not shown.still
        and shown.captions[0] == " ".join(map(str, six.cond[0].tolist()))
    )
    page = shown.html()
    kind, data = re.search(r'src="data:image/(webp|gif);base64,([^"]+)"', page).groups()
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.n_frames == 12 and image.info["loop"] == 0
        columns = shown.columns
        assert image.size[0] == columns * (CELL + GAP) + GAP
        image.seek(5)
        corner = numpy.asarray(image.convert("RGB"))[GAP : GAP + CELL, GAP : GAP + CELL]
    if kind == "webp":
        assert (corner == film.pictures(six.x0[0], 3)[5]).all(), "the first clip at its sixth moment"
    assert 'alt="6 clips of 12 frames"' in page


def test_saved_by_suffix(six, tmp_path):
    samples = Samples(six.x0, six.cond, SPACE)
    for name in ("strip.png", "grid.gif", "grid.mp4", "grid.webp"):
        assert samples.save(tmp_path / name).stat().st_size > 500
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.size == (12 * (40 + GAP) + GAP, 6 * (40 + 12 + GAP) + GAP)
    assert len(reloaded(tmp_path / "grid.mp4")[0]) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["grid.gif", "grid.mp4", "grid.webp", "strip.png"]
    with pytest.raises(ValueError, match=r"cannot save clips as '.jpg'. Use .png"):
        clip(six.x0).save(tmp_path / "grid.jpg")


def test_what_is_no_clip_is_refused(six):
    with pytest.raises(ValueError, match=r"clips \(N, F, C, H, W\) with C 1 or 3; got shape \(6, 1, 20, 20\)"):
        clip(six.x0[:, 0])
    with pytest.raises(ValueError, match="got 2 captions for 6 clips"):
        clip(six.x0, captions=["a", "b"])


# --- exporters -------------------------------------------------------------------------------------------------------


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
    wanted = film.pictures(MovingDigits("held_out").batch(torch.tensor([1])).x0[0], 8).astype(int)
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
    with pytest.raises(LimbeckError, match="whole clips of 12 frames, so 25 cannot be had.*use: streaming"):
        exporters.export_gif(run_of(sampler=object()), tmp_path / "other", frames=25)
    assert not (tmp_path / "other").exists()


def test_an_interrupted_export_leaves_whole_files_only(tmp_path, monkeypatch):
    before, made = film.mp4, []

    def interrupted(frames, fps):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return before(frames, fps)

    monkeypatch.setattr(film, "mp4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        exporters.export_mp4(run_of(), tmp_path, count=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip-01.mp4", "clip-02.mp4"]
    assert all(len(reloaded(p)[0]) == 12 for p in tmp_path.iterdir())


def test_an_interruption_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = film.write(tmp_path / "film.gif", b"old")
    monkeypatch.setattr(film.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        film.write(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["film.gif"]


def test_clips_that_are_none_are_refused(tmp_path):
    with pytest.raises(NonFinite, match="not finite"):
        exporters.export_mp4(run_of(torch.full((1, 12, 1, 20, 20), float("nan"))), tmp_path / "a")
    with pytest.raises(LimbeckError, match=r"films are made of clips \(N, F, C, H, W\), and this student makes \(8, 3"):
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
