"""The drift curve of a report."""

from types import SimpleNamespace

import pytest
import torch

from limbeck_video.metrics.drift import Curve, Drift
from limbeck_video.report import drift as panels

NUMBERS = {"drift": 0.25, "frozen": 0.0, "empty": 0.05, "frames_1_12": 2.0, "frames_13_24": 2.5, "frame_frechet": 1.0}


def run_of(*rows, metrics=None):
    table = {"rows": [{"name": name, "metrics": numbers} for name, numbers in rows]}
    return SimpleNamespace(evaluation=table, built=SimpleNamespace(metrics=metrics, data=None, sampler=None))


def test_curves_are_read_from_the_numbers_of_windows():
    found = panels.curve_of({**NUMBERS, "frames_per_second": 30.0, "frames_25_36": None})
    assert found == {(1, 12): 2.0, (13, 24): 2.5}


def test_the_panel_draws_every_row_that_has_a_curve(monkeypatch):
    real = Curve(torch.tensor([1.0, 1.1]), torch.zeros(2), torch.zeros(2))
    monkeypatch.setattr(Drift, "real_curve", lambda self, data: real)
    run = run_of(("teacher", {"frame_frechet": 1.0}), ("student <a>", NUMBERS), metrics={"drift": Drift(window=12)})
    shown = panels.drift(run)
    page = shown.html()
    assert shown.title == "Long rollouts" and page.count("<polyline") == 2
    assert "student &lt;a&gt;: the distance grows by 25 % at the worst; none freeze, 5 % of clips empty." in page
    assert "real clips, continued" in page and "teacher" not in page
    # the highest point of the student's line lies above its first: y grows downwards
    points = page.split('<polyline points="')[1].split('"')[0].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights[1] < heights[0]


@pytest.mark.parametrize("rows", [(), (("teacher", {"frame_frechet": 1.0}),)])
def test_runs_without_long_rollouts_have_no_panel(rows):
    assert panels.drift(run_of(*rows)) is None
