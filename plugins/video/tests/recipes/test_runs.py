"""A tiny streaming run from recipe to report and video files, by the measures of clips."""

import io
import json

import pytest

import limbeck
from limbeck_video.data.moving_digits import MovingDigits

RECIPE = {
    "name": "tiny_clips",
    "generator": {
        "use": "video/moving_digits_causal", "start": "fresh", "init": "random", "width": 16, "depth": 1, "heads": 2,
        "patch": 10, "chunk": 3,
    },
    "objective": {"use": "diffusion_forcing", "levels": "chunk"},
    "data": {"use": "video/moving_digits", "clips": 50},
    "sampling": {"use": "streaming", "steps": 2},
    "train": {"steps": 2, "batch_size": 2, "lr": 0.001, "threads": 1},
    "evaluate": {
        "samples": 12,
        "grid": 4,
        "metrics": [
            "video/flicker",
            {"use": "video/frame_frechet", "clips": 12},
            {"use": "video/drift", "frames": 36, "clips": 6},
            {"use": "video/streaming_speed", "frames": 6, "repeats": 1},
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def few():
    """30 held-out clips: reading a thousand takes longer than the rest of this test."""
    with pytest.MonkeyPatch.context() as patch:
        whole = MovingDigits.__len__
        patch.setattr(MovingDigits, "__len__", lambda self: 30 if self.name == "held_out" else whole(self))
        yield


@pytest.mark.slow
def test_a_streaming_run_from_recipe_to_report_and_video_files(tmp_path, few):
    run = limbeck.pretrain(RECIPE, out=tmp_path / "run", progress=False)
    rows = {row["role"]: row["metrics"] for row in json.loads((run.path / "evaluation.json").read_text())["rows"]}
    student, floor = rows["student"], rows["floor"]
    assert {"drift", "frozen", "empty", "frames_1_12", "frames_13_24", "frames_25_36"} <= set(student)
    assert student["frames_per_second"] > 0 and student["first_frame_ms"] > 0
    assert student["frame_frechet_ratio"] > 2 and floor["frame_frechet_ratio"] == pytest.approx(1, abs=0.3)
    assert "drift" not in floor and "frames_per_second" not in floor

    page = (run.path / "report.html").read_text()
    assert "Long rollouts" in page and "real clips, continued" in page and "could not be shown" not in page
    assert "8 clips of 36 frames" in page, "long rollouts are shown moving"
    assert "data:image/webp;base64" in page or "data:image/gif;base64" in page, "clips move in the page"

    again = limbeck.Run(run.path)
    files = again.export("gif", tmp_path / "gif", count=2, frames=30)
    assert [f.name for f in files] == ["clip-01.gif", "clip-02.gif", "clips.json"]
    assert json.loads(files[-1].read_text())["frames"] == 30
    (video, *_) = again.export("mp4", tmp_path / "mp4", count=1)
    import av

    with av.open(io.BytesIO(video.read_bytes())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12
