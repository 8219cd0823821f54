"""A scene distilled from a pipeline of diffusers: 3D and image meet in a recipe, and never import each other."""

from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch

import limbeck
from limbeck.conditions import Conditions
from limbeck.randomness import Rng
from limbeck.recipe import load
from limbeck.runs.build import build

ROOT = Path(__file__).parents[1]


def recipe(model, objective, cache, **options):
    return {
        "name": f"scene_{objective}",
        "teacher": {"use": "image/diffusers", "model": model, "guidance": 3.0},
        "generator": {"use": "3d/voxels", "init": "random", "grid": 8, "samples": 8, "size": 16},
        "objective": {"use": objective, **options},
        "data": {"use": "3d/prompt", "caption": "a fox", "size": 16},
        "source": {"use": "3d/cameras"},
        "sampling": {"use": "3d/orbit"},
        "train": {"steps": 3, "batch_size": 2, "lr": 1.0e-1, "seed": 0, "log_every": 1},
        "evaluate": {"grid": 0, "compare": False},
        "report": {"write": False},
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.saved("sd15", tmp_path_factory.mktemp("sd15"))


def test_views_are_told_to_the_text_encoder_beside_the_cameras(model):
    built = build(load(recipe(model, "sds", None)))
    cond = built.source.batch(8, Rng(0)).cond
    assert set(cond) == {"text", "azimuth", "elevation", "distance", "fov", "background", "prompt"}
    said = built.data.captions(cond)
    assert {text.removeprefix("a fox, ") for text in said} <= {
        f"{v} view" for v in ("front", "back", "side", "overhead")
    }
    assert len(set(said)) > 1
    teacher = built.teacher.teacher
    assert torch.equal(cond["prompt"], teacher.encode(said)["prompt"])
    null = teacher.null(cond)
    assert isinstance(null, Conditions) and torch.equal(null["azimuth"], cond["azimuth"])
    assert torch.equal(null["prompt"], teacher.encode([""] * 8)["prompt"])
    # the field reaches the scene through the autoencoder, and differs with what is said
    x, t = torch.randn(8, 4, 8, 8), torch.full((8,), 0.5)
    fields = built.teacher(x, t, cond).x0_hat - built.teacher(x, t, null).x0_hat
    assert float(fields.abs().max()) > 1e-4
    held_out = built.data.split("held_out").batch(torch.arange(3)).cond
    assert "prompt" in held_out


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "options"), [("sds", {}), ("vsd", {"critic": {"lora": {"rank": 2}}})])
def test_a_scene_is_moved_by_a_pipeline_through_its_autoencoder(model, objective, options, tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    content = recipe(model, objective, tmp_path, **options)
    start = {name: tensor.clone() for name, tensor in build(load(content)).generator.state_dict().items()}
    run = limbeck.distill(content, out=tmp_path / "run", progress=False)
    trained = run.checkpoint().tensors("generator")
    assert any(float((trained[name] - start[name]).abs().max()) > 0.05 for name in start)
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    if objective == "vsd":
        assert all(".lora_" in name for name in run.checkpoint().tensors("critic"))


def test_recipes_on_the_hub_are_valid_without_loading_anything():
    names = ("sdxl_dmd2", "flux_lora_consistency", "sd15_lcm_lora", "wan_lora_dmd2")
    for name in (*names, str(ROOT / "examples" / "scene_from_stable_diffusion.yaml")):
        found = load(name)
        assert found.teacher.use.endswith("/diffusers") and "/" in found.teacher.options["model"]
