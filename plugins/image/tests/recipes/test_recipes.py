"""Recipes of images: every one of them builds, and a pretraining run becomes a teacher file."""

import subprocess
import sys

import pytest
import tiny_pipelines
import torch
from PIL import Image

import limbeck
from limbeck.recipe import load
from limbeck.runs.build import build
from limbeck_image.manifest import recipes

PIPELINES = {"sdxl_dmd2": "sdxl", "flux_lora_consistency": "flux", "sd15_lcm_lora": "sd15"}
DIGITS = [row.name for row in recipes.COMPONENTS if row.name not in PIPELINES]


def teacher():
    return limbeck.create("teacher", "image/digits")


def test_the_manifest_imports_neither_torch_nor_pydantic():
    code = (
        "import sys, limbeck_image._plugin as p; names = [c.name for c in p.components()];"
        "heavy = {'torch', 'pydantic', 'sklearn', 'PIL'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy or 'digits' not in names else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", DIGITS)
def test_every_recipe_of_digits_builds(name):
    built = build(load(name))
    assert built.space.event == (1, 8, 8) and len(built.data) == 1437
    assert set(built.metrics) >= {"frechet", "precision_recall", "class_accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_every_recipe_of_a_pipeline_builds_on_a_tiny_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    model = tiny_pipelines.saved(PIPELINES[name], tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("a fox\na bird\n")
    (tmp_path / "images").mkdir()
    for k in range(3):
        Image.new("RGB", (20, 16), (60 * k, 0, 0)).save(tmp_path / "images" / f"{k}.png")
        (tmp_path / "images" / f"{k}.txt").write_text("a fox")
    place = {"file": str(tmp_path / "prompts.txt")} if name == "sdxl_dmd2" else {"folder": str(tmp_path / "images")}
    small = {"model": model, "height": 16, "width": 16, "dtype": "float32"}
    built = build(load(name, teacher=small, data=place))
    assert built.objective.roles() and built.teacher is not None


def test_the_dmd2_student_starts_as_the_teacher():
    built = build(load("digits_dmd2"))
    weights = teacher().state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in built.generator.state_dict().items())


def test_a_pretraining_run_becomes_a_teacher_file_that_loads(tmp_path):
    train_options = {"steps": 2, "batch_size": 8, "warmup": 0}
    evaluate = {"samples": 16, "batch_size": 16, "every": None, "grid": 0, "metrics": ["class_accuracy"]}
    run = limbeck.pretrain(
        "digits_teacher", out=tmp_path / "run", train=train_options, evaluate=evaluate,
        sampling={"use": "euler", "steps": 2}, progress=False,
    )  # fmt: skip
    (path,) = run.export("teacher", tmp_path / "out", dtype="float32")
    made = limbeck.create("teacher", "image/digits", weights=str(path))
    trained = run.generator().state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in made.state_dict().items())
    assert made.provenance["recipe"] == "digits_teacher" and "CC BY 4.0" in made.provenance["data"]
    assert made.network.encoder[0][0][0].dropout == 0


@pytest.mark.long
def test_rerunning_the_teachers_recipe_lands_within_a_tenth_of_its_stated_distance(tmp_path):
    stated = next(row for row in teacher().provenance["evaluation"] if row["name"] != "real data, held out")
    run = limbeck.pretrain("digits_teacher", out=tmp_path / "run", progress=False)
    found = next(row for row in run.evaluation["rows"] if row["name"] == stated["name"])
    assert found["metrics"]["frechet"] == pytest.approx(stated["metrics"]["frechet"], rel=0.1)
