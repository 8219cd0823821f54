"""Every family, distilled for some updates, leaves as a pipeline (and as adapters) that plain diffusers samples as we
do."""

import json
from types import SimpleNamespace

import pytest
import tiny_pipelines as tiny
import torch
from pipeline_runs import distilled, job, recipe, registered, reload
from safetensors.torch import load_file

from limbeck.errors import LimbeckError, RunExists
from limbeck_diffusion.pipelines.exporters import export_diffusers, export_lora
from limbeck_diffusion.pipelines.loading import diffusers_teacher
from limbeck_diffusion.samplers.gaussian import Heun, Multistep

pytestmark = pytest.mark.xdist_group("pipeline exports")  # what is made for the module is made once

TOLERANCE = 1e-4
STEPS = {"stable_audio": 1}  # its scheduler draws the noise between calls by a Brownian tree
SHORT = {"prompt_length": 8}  # not hundreds of tokens of padding
OPTIONS = {
    "flux": {"height": 16, "width": 16, **SHORT},
    "wan": {"height": 16, "width": 16, "frames": 5, **SHORT},
    "sd3": SHORT,
    "sana": SHORT,
}


def check(cells, folder, monkeypatch):
    """Distil, export, reload and compare every (family, objective, lora)."""
    monkeypatch.setenv("LIMBECK_CACHE", str(folder / "cache"))
    bases, jobs, wanted, names = {}, [], [], []
    for family, objective, lora in cells:
        if family not in bases:
            bases[family] = tiny.saved(family, folder / family)
        name = f"{family}-{objective}-{'lora' if lora else 'full'}"
        content = recipe(
            name, family, bases[family], objective, lora, steps=STEPS.get(family, 2), teacher=OPTIONS.get(family, {})
        )
        run = distilled(folder / name, content)
        with registered():
            for exporter in ("diffusers", "lora") if lora else ("diffusers",):
                target = folder / f"{name}-{exporter}"
                run.export(exporter, target)
                found, tensors = job(run, target, bases[family], folder, f"{name}-{exporter}")
                jobs.append(found)
                wanted.append(tensors)
                names.append(f"{name} {exporter}")
                assert moved(run), f"{name}: nothing was learned"
    apart = {}
    for name, ours, theirs in zip(names, wanted, reload(jobs, folder), strict=True):
        assert theirs.shape == ours.shape, name
        apart[name] = float((theirs - ours).abs().max()) / max(1.0, float(ours.abs().max()))
    wrong = {name: f"{worst:.1g}" for name, worst in apart.items() if not worst < TOLERANCE}
    assert not wrong, wrong


def moved(run):
    """The student is no longer its teacher."""
    student, teacher = run.generator(), run.built.teacher
    with torch.no_grad():
        x = torch.randn(2, *student.space.event, generator=torch.Generator().manual_seed(0))
        t, cond = torch.full((2,), 0.5), student.encode(["1" if student.prompts is None else "a"] * 2)
        return not torch.allclose(student(x, t, cond).x0_hat, teacher(x, t, cond).x0_hat, atol=1e-3)


@pytest.mark.slow
def test_two_families_leave_and_sample_alike_in_a_fresh_process(tmp_path, monkeypatch):
    check([("sd15", "dmd2", True), ("flux", "consistency", True)], tmp_path, monkeypatch)
    whole, adapters = tmp_path / "sd15-dmd2-lora-diffusers", tmp_path / "sd15-dmd2-lora-lora"
    assert json.loads((whole / "model_index.json").read_text())["scheduler"] == ["diffusers", "LCMScheduler"]
    call = {"num_inference_steps": 2, "guidance_scale": 1.0, "height": 16, "width": 16}
    assert json.loads((whole / "call.json").read_text()) == call == json.loads((adapters / "call.json").read_text())
    call = json.loads((tmp_path / "flux-consistency-lora-lora" / "call.json").read_text())
    assert call["guidance_scale"] == 3.5 and call["max_sequence_length"] == 8
    (weights,) = adapters.glob("*.safetensors")
    assert weights.name == "pytorch_lora_weights.safetensors"
    assert all(name.startswith("unet.") and ".lora_" in name for name in load_file(weights))
    card = (adapters / "README.md").read_text()
    said = ("library_name: diffusers", "- lora", "`sd15` distilled with `dmd2`", "| guidance | 1 |", "## Licence")
    for part in (*said, "| calls of the network | 2, at t = 1", "## Recipe", 'pipe.load_lora_weights(".")'):
        assert part in card, part
    assert not [path for path in (*whole.rglob("*"), *adapters.rglob("*")) if names(path, tmp_path)]


def names(path, folder):
    """Whether a text file names a folder of this machine."""
    return path.suffix in (".md", ".json") and str(folder) in path.read_text()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return diffusers_teacher(model=tiny.saved("dit", tmp_path_factory.mktemp("dit")))


def run_of(student, sampler=None):
    return SimpleNamespace(
        generator=lambda: student, built=SimpleNamespace(sampler=sampler, sampling_steps=4), recipe={}
    )


def test_what_cannot_leave_is_said_with_what_can(teacher, tmp_path):
    with pytest.raises(LimbeckError, match="no adapters to write. Export the pipeline with --to diffusers"):
        export_lora(run_of(teacher.trainable_copy("full")), tmp_path / "a")
    with pytest.raises(LimbeckError, match="write networks of diffusers pipelines; Linear is none"):
        export_diffusers(run_of(torch.nn.Linear(1, 1)), tmp_path / "a")
    with pytest.raises(LimbeckError, match="no sampling block"):
        export_diffusers(run_of(teacher), tmp_path / "a")
    with pytest.raises(LimbeckError, match="sampled by heun"):
        export_diffusers(run_of(teacher, Heun()), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("")
    with pytest.raises(RunExists, match="nothing in it was touched"):
        export_lora(run_of(teacher.trainable_copy("lora"), Multistep()), tmp_path / "b")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_every_family_objective_and_mode_leaves_and_samples_alike(tmp_path, monkeypatch):
    families, modes = sorted(tiny.BUILDERS), (False, True)
    cells = [
        (family, objective, lora) for family in families for objective in ("dmd2", "consistency") for lora in modes
    ]
    check(cells, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        {"use": "dmd2", "critic": {"updates": 1, "lora": {"rank": 2}}, "discriminator": {"weight": 0.01}},
        {"use": "consistency", "mode": "training", "times": {"nodes": 4}, "target": {"decay": 0.9}},
    ],
    ids=["dmd2_gan", "consistency"],
)
def test_latents_of_a_folder_of_images_train_students_too(objective, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (20, 20), (60 * number, 10, 200)).save(tmp_path / "images" / f"{number}.png")
        (tmp_path / "images" / f"{number}.txt").write_text("ab"[number % 2])
    content = recipe("images", "sd15", tiny.saved("sd15", tmp_path / "sd15"), "dmd2", True)
    data = {"use": "image_folder", "folder": str(tmp_path / "images"), "text_encoder": "unload"}
    run = distilled(tmp_path / "run", {**content, "objective": objective, "data": data, "source": {"use": "data"}})
    assert moved(run) and len(list((tmp_path / "cache").rglob("*.safetensors"))) == 4 + 3
