"""Sections of reports, what the teacher sees, and a whole tiny run from recipe to files."""

import base64
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import limbeck
from limbeck.conditions import Conditions
from limbeck.interfaces import Codec, Prediction, Space, Teacher
from limbeck.process.gaussian import RectifiedFlow
from limbeck_3d.exporters.turntable import views
from limbeck_3d.report import asset as panels
from limbeck_3d.report.teacher_predictions import four_sides, what_the_teacher_sees
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.voxels import ImageScene, Voxels


class Halving(Codec):
    def encode(self, seen):
        return 0.5 * seen

    def decode(self, value):
        return 2 * value


class KnowsOneImage(Teacher):
    """Data is one image: x0_hat is that image, whatever the noise."""

    process = RectifiedFlow()

    def __init__(self, image, codec=None):
        super().__init__()
        self.space = Space(tuple(image.shape), domain="renders", codec=codec or Codec())
        self.image = nn.Parameter(image)
        self.calls = 0

    def forward(self, xt, t, cond, *, features=()):
        self.calls += 1
        return Prediction(x0_hat=self.image.expand_as(xt))


@pytest.mark.parametrize("codec", [Codec(), Halving()])
def test_the_teacher_is_shown_noised_renders_and_its_predictions_are_shown(codec):
    scene = ImageScene(size=8, particles=2)
    wanted = torch.full((3, 8, 8), 0.25)
    teacher = KnowsOneImage(codec.encode(wanted), codec)
    seen = what_the_teacher_sees(scene, teacher, views(4), levels=(0.2, 0.7), steps=3)
    torch.testing.assert_close(seen.rendered, scene.image.detach()[[0, 1, 0, 1]])
    assert seen.noised.shape == seen.one_step.shape == seen.many_steps.shape == (2, 4, 3, 8, 8)
    assert seen.times == (0.2, 0.7) and teacher.calls == 2 * (1 + 3)
    torch.testing.assert_close(seen.one_step, wanted.expand_as(seen.one_step))
    torch.testing.assert_close(seen.many_steps, wanted.expand_as(seen.many_steps))
    # the same noise at both levels, of unit size in the teacher's space: xt = (1 - t) x0 + t eps
    latent = codec.encode(seen.rendered)
    eps = [(codec.encode(seen.noised[k]) - (1 - t) * latent) / t for k, t in enumerate(seen.times)]
    torch.testing.assert_close(eps[0], eps[1], rtol=1e-4, atol=1e-4)
    assert float(eps[0].std()) == pytest.approx(1.0, abs=0.1)


def test_four_sides_are_the_rows_nearest_to_them():
    cond = Conditions(azimuth=torch.tensor([100.0, 350.0, 30.0, 185.0, 260.0, 45.0]), row=torch.arange(6))
    assert four_sides(cond)["row"].tolist() == [1, 0, 3, 4]
    assert four_sides(torch.arange(9)).tolist() == [0, 1, 2, 3]


def run_of(scene, teacher=None, cond=None):
    data = SimpleNamespace(conditions=lambda count, rng: cond if cond is not None else views(count))
    built = SimpleNamespace(generator=scene, teacher=teacher, data=data)
    return SimpleNamespace(generator=lambda: scene, built=built, recipe=SimpleNamespace(name="toy <1>"), path="toy")


def test_the_asset_has_a_viewer_a_turntable_and_files_to_save(monkeypatch):
    monkeypatch.setattr(panels, "SMALL_TURN", panels.TurntableOptions(views=4, size=32, render_size=16))
    scene = Splats(count=30, size=8, start_opacity=0.9, start_scale=0.2)
    shown = panels.asset(run_of(scene))
    page = shown.html()
    assert shown.title == "The asset" and "toy &lt;1&gt;" in page and "toy <1>" not in page
    assert page.count("<iframe") == 1
    for name, start in (("scene.glb", b"glTF"), ("turntable.gif", b"GIF89a"), ("splats.ply", b"ply\n")):
        data = re.search(rf'download="{name}" href="data:[^;]+;base64,([A-Za-z0-9+/=]+)"', page)[1]
        assert base64.b64decode(data).startswith(start)
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing from anywhere else
    assert scene.training  # the run's own scene was not touched


def test_an_empty_field_is_said_in_the_place_of_the_viewer(monkeypatch):
    monkeypatch.setattr(panels, "SMALL_TURN", panels.TurntableOptions(views=2, size=16, render_size=16))
    scene = Voxels(grid=8, size=8, samples=8, blob_density=0.01)
    page = panels.asset(run_of(scene)).html()
    assert "No mesh" in page and "the field is empty" in page and "<iframe" not in page and "turntable.gif" in page


def test_panels_have_nothing_to_say_about_runs_without_scenes_or_teachers():
    assert panels.asset(run_of(nn.Linear(1, 1))) is None
    assert panels.teachers_view(run_of(nn.Linear(1, 1), KnowsOneImage(torch.zeros(3, 8, 8)))) is None
    assert panels.teachers_view(run_of(ImageScene(size=8))) is None


def test_the_teachers_view_shows_three_levels_of_noise_from_four_sides():
    shown = panels.teachers_view(run_of(ImageScene(size=8), KnowsOneImage(torch.zeros(3, 8, 8))))
    page = shown.html()
    assert shown.title == "What the teacher sees"
    assert page.count("<img") == 1 + 3 * 3 and [f"t = {t}" in page for t in ("0.25", "0.50", "0.80")] == [True] * 3


def test_a_run_from_recipe_to_files_and_its_report(tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "SMALL_TURN", panels.TurntableOptions(views=2, size=16, render_size=16))
    recipe = {
        "name": "tiny",
        "teacher": {"use": "3d/oracle", "size": 16},
        "generator": {"use": "3d/voxels", "init": "random", "size": 16, "grid": 12, "samples": 12, "opacity": 0.01},
        "objective": {"use": "sds"},
        "data": {"use": "3d/prompt", "prompt": "a red box", "size": 16},
        "source": {"use": "3d/cameras"},
        "sampling": {"use": "3d/orbit"},
        "train": {"steps": 3, "batch_size": 2, "lr": 0.05, "threads": 1},
        "evaluate": {"samples": 8, "grid": 8},
    }
    run = limbeck.distill(recipe, out=tmp_path / "run", progress=False)
    page = (run.path / "report.html").read_text()
    assert "The asset" in page and "What the teacher sees" in page and "could not be shown" not in page
    again = limbeck.Run(run.path)  # as another process sees it
    files = again.export("3d/glb", tmp_path / "glb")
    assert files[0].read_bytes().startswith(b"glTF")
    step = again.generator().density.detach() - Voxels(grid=12).density.detach()
    assert 0.01 < float(step.abs().max()) < 0.3  # three steps of Adam away from the start
