"""Any folder of videos: what can be used is converted, what cannot is named and counted."""

import warnings
from fractions import Fraction

import av
import numpy
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck_video.data import folder
from limbeck_video.data.folder import VideoFolder
from limbeck_video.encoding import video


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def videos(tmp_path):
    path = tmp_path / "videos"
    path.mkdir()
    return path


def grey(levels, height=32, width=32):
    """A video whose frames have these grey levels."""
    return numpy.stack([numpy.full((height, width, 3), level, numpy.uint8) for level in levels])


def video_at(path, levels, fps=10.0, **size):
    path.write_bytes(video.mp4(grey(levels, **size), fps))


def uneven(path, levels, times, base=Fraction(1, 100)):
    """A video whose frames come at given hundredths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=100)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "yuv420p", base, base
        for picture, time in zip(grey(levels), times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, base
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def level(clips):
    """Mean level of every frame, 0 to 255."""
    return (clips.flatten(2).mean(-1) + 1) * 127.5


def test_videos_become_clips_without_overlap_and_the_rest_is_counted(videos):
    video_at(videos / "a.mp4", range(0, 130, 10))  # 13 frames: an odd number
    (videos / "within").mkdir()
    video_at(videos / "within" / "b.mp4", range(100, 180, 10))
    (videos / "notes.txt").write_text("no video")
    data = VideoFolder(path=str(videos), frames=4, size=(16, 16), colour="grey", held_out=0)
    assert data.space.event == (4, 1, 16, 16) and data.space.domain == "clip" and len(data) == 3 + 2
    batch = data.batch(torch.tensor([0, 2, 3]))
    assert batch.x0.shape == (3, 4, 1, 16, 16) and batch.cond is None and data.conditions(3, None) is None
    expected = torch.tensor([[0.0, 10, 20, 30], [80, 90, 100, 110], [100, 110, 120, 130]])
    torch.testing.assert_close(level(batch.x0), expected, atol=3, rtol=0)
    assert data.notes == ["1 frames at the ends of videos make no whole clip of 4 and are not used"]
    assert VideoFolder(path=str(videos), frames=2, stride=3, size=(16, 16), held_out=0).space.event[1] == 3


def test_the_middle_is_cut_out_before_resizing(videos):
    wide = numpy.zeros((4, 32, 96, 3), numpy.uint8)
    wide[:, :, 32:64] = 200  # only the middle third is light
    (videos / "wide.mp4").write_bytes(video.mp4(wide, 10))
    data = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0)
    torch.testing.assert_close(level(data.batch(torch.tensor([0])).x0), torch.full((1, 4), 200.0), atol=6, rtol=0)


def test_a_variable_frame_rate_is_resampled_by_times_with_a_warning(videos):
    # frames usually come every 10 hundredths; one lasts three times as long
    uneven(videos / "phone.mp4", [20, 60, 100, 140, 180], [0, 10, 40, 50, 60])
    with pytest.warns(UserWarning, match=r"1 of 1 videos have a variable frame rate.*phone.mp4 \(10 per second\)"):
        data = VideoFolder(path=str(videos), frames=7, size=(8, 8), held_out=0)
    found = level(data.batch(torch.tensor([0])).x0)
    torch.testing.assert_close(found, torch.tensor([[20.0, 60, 60, 60, 100, 140, 180]]), atol=4, rtol=0)


def test_another_rate_repeats_or_drops_frames(videos):
    video_at(videos / "a.mp4", range(0, 200, 20), fps=10)
    slow = VideoFolder(path=str(videos), frames=5, size=(8, 8), fps=5, held_out=0)
    torch.testing.assert_close(
        level(slow.batch(torch.tensor([0])).x0), torch.tensor([[0.0, 40, 80, 120, 160]]), atol=4, rtol=0
    )
    fast = VideoFolder(path=str(videos), frames=20, size=(8, 8), fps=20, held_out=0)
    assert level(fast.batch(torch.tensor([0])).x0)[0, :4].round().tolist() == pytest.approx([0, 0, 20, 20], abs=4)


def test_broken_short_and_double_files_are_left_out_and_named(videos):
    video_at(videos / "good.mp4", range(0, 80, 10))
    video_at(videos / "other.mp4", range(80, 160, 10))
    video_at(videos / "short.mp4", [1, 2, 3])
    whole = (videos / "good.mp4").read_bytes()
    (videos / "again.mp4").write_bytes(whole)
    (videos / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    (videos / "text.mp4").write_text("this is not a video")
    (videos / "empty.mp4").write_bytes(b"")
    with pytest.warns(UserWarning) as caught:
        data = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0)
    message = str(caught[0].message)
    assert "5 of 7 videos in" in message and len(caught) == 1
    assert "short.mp4: 3 frames, and a clip takes 4: lower data.frames" in message
    assert set(data.skipped) == {"short.mp4", "good.mp4", "torn.mp4", "text.mp4", "empty.mp4"}, "again.mp4 comes first"
    assert (
        data.skipped["good.mp4"] == "the same content as another file"
        and "cannot be decoded" in data.skipped["torn.mp4"]
    )
    assert len(data) == 4
    with pytest.raises(LimbeckError, match=r"empty.mp4: cannot be decoded .* Remove the file, or .*data.strict=false"):
        VideoFolder(path=str(videos), frames=4, size=(8, 8), strict=True)


def test_folders_without_a_usable_video_are_errors(videos, tmp_path):
    with pytest.raises(LimbeckError, match="there is no folder"):
        VideoFolder(path=str(tmp_path / "nowhere"))
    (videos / "notes.txt").write_text("no video")
    with pytest.raises(LimbeckError, match=r"holds no video \(1 other files\).*\.mp4"):
        VideoFolder(path=str(videos))
    video_at(videos / "short.mp4", [1, 2])
    with pytest.raises(LimbeckError, match=r"(?s)1 of 1 videos .*short.mp4: 2 frames.*No video is left"):
        VideoFolder(path=str(videos), frames=4)


def test_whole_files_are_held_out_by_content(videos):
    for k in range(6):
        video_at(videos / f"{k}.mp4", range(20 * k, 20 * k + 8))
    data = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0.3)
    held_out = data.split("held_out")
    assert (len(data), len(held_out), len(held_out.split("train"))) == (8, 4, 8)
    mine = {round(v / 20) for v in level(data.batch(torch.arange(8)).x0)[:, 0].tolist()}
    theirs = {round(v / 20) for v in level(held_out.batch(torch.arange(4)).x0)[:, 0].tolist()}
    assert not mine & theirs
    for path in sorted(videos.iterdir(), reverse=True):
        path.rename(path.with_name("z" + path.name))
    renamed = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0.3).split("held_out")
    again = {round(v / 20) for v in level(renamed.batch(torch.arange(4)).x0)[:, 0].tolist()}
    assert again == theirs, "names do not matter"


def test_one_video_cannot_be_divided(videos):
    video_at(videos / "a.mp4", range(8))
    data = VideoFolder(path=str(videos), frames=4, size=(8, 8))
    assert len(data) == 2
    with pytest.raises(TypeError, match="no video in .* is held out: there are 1"):
        data.split("held_out")


def test_decoded_videos_are_kept_by_content(videos, tmp_path, monkeypatch):
    video_at(videos / "a.mp4", range(0, 80, 10))
    first = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0).batch(torch.arange(2)).x0
    kept = list((tmp_path / "cache" / "video").iterdir())
    assert len(kept) == 1 and kept[0].suffix == ".safetensors"
    (videos / "a.mp4").rename(videos / "b.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(folder, "decode", lambda *_: pytest.fail("decoded again"))
        again = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0).batch(torch.arange(2)).x0
    assert torch.equal(first, again)
    VideoFolder(path=str(videos), frames=4, size=(4, 4), held_out=0)  # another size is another file
    assert len(list((tmp_path / "cache" / "video").iterdir())) == 2
    kept[0].write_bytes(b"torn")
    repaired = VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0).batch(torch.arange(2)).x0
    assert torch.equal(first, repaired)


def test_a_cache_that_cannot_be_written_costs_a_warning(videos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file"))
    video_at(videos / "a.mp4", range(8))
    with pytest.warns(UserWarning, match="could not be kept"):
        assert len(VideoFolder(path=str(videos), frames=4, size=(8, 8), held_out=0)) == 2


def test_a_good_folder_warns_of_nothing(videos):
    video_at(videos / "a.mp4", range(8), height=20, width=31)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VideoFolder(path=str(videos), frames=8, size=(8, 8), held_out=0)
