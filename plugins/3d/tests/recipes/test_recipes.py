import subprocess
import sys

import pytest
import torch

import limbeck
from limbeck.recipe import load, variant
from limbeck.runs.build import build
from limbeck_3d.manifest import recipes
from limbeck_3d.networks.view_unet import views_generator

QUICK = {
    "train": {"steps": 2, "checkpoint": {"every": 100}},
    "evaluate": {"samples": 8, "batch_size": 8, "grid": 0, "compare": False, "metrics": ["3d/silhouette_iou"]},
}


def test_the_manifest_imports_neither_torch_nor_pydantic():
    code = (
        "import sys, limbeck_3d._plugin as p; names = {c.name for c in p.components()};"
        "heavy = {'torch', 'pydantic', 'numpy', 'trimesh', 'PIL', 'scipy', 'skimage'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy or not {'solids', 'voxels', 'text_to_3d'} <= names else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_options_are_read_without_torch():
    rooms = "callbacks, cameras, data, exporters, measures, networks, scenes, teachers"
    code = f"import sys; from limbeck_3d.options import {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("objective", ["sds", "csd", "vsd", "ism"])
def test_text_to_3d_builds_with_every_objective(objective):
    built = build(variant(load("text_to_3d"), objective, ["data.prompt=a green cone"]))
    assert built.space.event == (3, 32, 32) and built.data.prompt == "a green cone"
    assert (objective == "vsd") == ("critic" in built.objective.roles())


@pytest.mark.parametrize("name", [component.name for component in recipes.COMPONENTS])
def test_every_recipe_builds(name):
    few = ["data.meshes=false", "data.views=2"] if name == "solids_teacher" else []  # all of them take half a minute
    recipe = load(name, few)
    built = build(variant(recipe, "dmd2") if name == "solids_compare" else recipe)
    assert built.space.event == (3, 32, 32) and built.sampler is not None


def test_the_default_generator_is_built_like_the_bundled_teacher():
    views_generator().load_state_dict(limbeck.create("teacher", "3d/views").state_dict())


def test_a_prompt_becomes_a_mesh_file(tmp_path):
    import trimesh

    run = limbeck.distill(
        "text_to_3d", out=tmp_path / "run", overrides=["prompt=a blue box", "export=[glb]"], report={"write": False},
        progress=False, **QUICK,
    )  # fmt: skip
    (path,) = (tmp_path / "run" / "exports").rglob("*.glb")
    assert len(trimesh.load(path, force="mesh").faces) > 50
    assert run.built.data.prompt == "a blue box"


def test_a_pretraining_run_becomes_a_teacher_file_that_loads(tmp_path):
    small = {"use": "3d/views", "init": "random", "channels": [16, 16], "attention": [1], "embedding": 32, "words": 8}
    run = limbeck.pretrain(
        "solids_teacher", out=tmp_path / "run", overrides=["data.meshes=false", "data.views=4"], generator=small,
        train={"steps": 2, "batch_size": 8, "warmup": 0, "precision": "no"},
        evaluate={"samples": 8, "batch_size": 8, "grid": 0, "compare": False},
        sampling={"use": "euler", "steps": 2}, progress=False,
    )  # fmt: skip
    (path,) = run.export("teacher", tmp_path / "out", dtype="float32")
    teacher = limbeck.create("teacher", "3d/views", weights=str(path))
    trained = run.generator().state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in teacher.state_dict().items())
    assert teacher.provenance["recipe"] == "solids_teacher" and "Apache-2.0" in teacher.provenance["data"]


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["a red torus", "a red torus on a blue box"])
def test_distilled_scenes_have_the_shape_of_their_prompt(tmp_path, prompt):
    run = limbeck.distill(
        "text_to_3d", out=tmp_path / "run", overrides=[f"prompt={prompt}", "export=[]", "evaluate.grid=0"],
        report={"write": False}, progress=False,
    )  # fmt: skip
    student = next(row for row in run.evaluation["rows"] if row["role"] == "student")["metrics"]
    assert student["silhouette_iou"] > 0.9 and student["chamfer"] < 0.04 and student["named"] > 0.9


@pytest.mark.slow
def test_dmd2_makes_the_same_scene(tmp_path):
    cheap = {"export": [], "train.steps": 150, "evaluate.grid": 0, "evaluate.metrics": ["3d/silhouette_iou"]}
    recipe = variant(load("solids_compare", overrides=[f"{key}={value}" for key, value in cheap.items()]), "dmd2")
    run = limbeck.distill(recipe, out=tmp_path / "run", report={"write": False}, progress=False)
    student = next(row for row in run.evaluation["rows"] if row["role"] == "student")["metrics"]
    assert student["silhouette_iou"] > 0.85  # 0.968 after 300 steps
