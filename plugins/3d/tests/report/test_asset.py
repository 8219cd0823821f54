"""The panel of the asset, and a whole tiny run from recipe to files."""

import base64
import re
from types import SimpleNamespace

from torch import nn

import limbeck
from limbeck_3d.report import asset as panels
from limbeck_3d.scenes.splats import Splats
from limbeck_3d.scenes.voxels import Voxels


def run_of(scene):
    return SimpleNamespace(
        generator=lambda: scene,
        built=SimpleNamespace(generator=scene),
        recipe=SimpleNamespace(name="toy <1>"),
        path="toy",
    )


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


def test_an_empty_field_is_named_in_the_place_of_the_viewer(monkeypatch):
    monkeypatch.setattr(panels, "SMALL_TURN", panels.TurntableOptions(views=2, size=16, render_size=16))
    scene = Voxels(grid=8, size=8, samples=8, blob_density=0.01)
    page = panels.asset(run_of(scene)).html()
    assert "No mesh" in page and "the field is empty" in page and "<iframe" not in page and "turntable.gif" in page


def test_runs_without_scenes_have_no_asset():
    assert panels.asset(run_of(nn.Linear(1, 1))) is None


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
