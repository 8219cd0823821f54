"""Pipelines found and refused: families, schedulers, sizes, the hub, and the schedules behind schedulers."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines
import torch

from limbeck.errors import LimbeckError, OptionError, PluginLoadError
from limbeck.plugins.registry import registry
from limbeck.process.gaussian import RectifiedFlow, VPCosine
from limbeck_diffusion.pipelines.families import BY_NAME, FAMILIES
from limbeck_diffusion.pipelines.loading import diffusers_teacher, image_student, image_teacher, video_teacher
from limbeck_diffusion.pipelines.schedule import VPTable, dynamic_shift, schedule_of

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


@pytest.fixture
def changed(tiny_folder, tmp_path):
    """`changed(family, index={...})`: a copy of a tiny pipeline whose model_index.json says something else."""

    def make(name: str, index: dict[str, Any] | None = None, text: str | None = None) -> str:
        place = tmp_path / name
        shutil.copytree(tiny_folder(name), place)
        file = place / "model_index.json"
        said = json.loads(file.read_text()) | (index or {})
        file.write_text(text if text is not None else json.dumps({k: v for k, v in said.items() if v is not None}))
        return str(place)

    return make


# --- what is refused, before any weights are loaded -------------------------------------------------------------------


@pytest.fixture
def no_weights(monkeypatch):
    """Loading anything fails the test."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("weights were loaded")

    import diffusers

    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", refuse)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (
            {"_class_name": "KandinskyPipeline"},
            r"holds a KandinskyPipeline, a pipeline of no known family.*Known: Stable Diffusion 1 and 2 \(Stable.*"
            r"Stable Audio \(StableAudioPipeline\)",
        ),
        ({"_class_name": "FluxPipelin"}, "Did you mean 'FluxPipeline'?"),
        ({"_class_name": None}, "names no pipeline"),
        (
            {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]},
            "Stable Diffusion 1 and 2 does not work with the scheduler FlowMatchEulerDiscreteScheduler.*Allowed: DDIM.*"
            "from_config keeps the settings",
        ),
        ({"scheduler": ["diffusers", "DDIMSchedule"]}, "Did you mean 'DDIMScheduler'?"),
        ({"scheduler": [None, None]}, "names no scheduler. Save the pipeline again"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused_in_time(changed, no_weights, index, said):
    with pytest.raises(LimbeckError, match=f"(?s){said}"):
        diffusers_teacher(model=changed("sd15", index))


@pytest.mark.parametrize("text", ["{", "[1, 2]", "", "\0"])
def test_a_broken_index_is_told_with_its_hint(changed, no_weights, text):
    with pytest.raises(LimbeckError, match=r"model_index.json is broken \(.+\). Save the pipeline again"):
        diffusers_teacher(model=changed("sd15", text=text))


def test_a_folder_that_is_no_pipeline_is_told_with_its_hint(tmp_path, no_weights, tiny_folder):
    with pytest.raises(LimbeckError, match="holds no model_index.json.*from_single_file"):
        diffusers_teacher(model=str(tmp_path))
    shutil.copytree(tiny_folder("sd15"), tmp_path / "inside")
    with pytest.raises(LimbeckError, match="Did you mean its folder 'inside'"):
        diffusers_teacher(model=str(tmp_path))
    for missing in (str(tmp_path / "nowhere"), "./nowhere", "no such folder", "a/b/c"):
        with pytest.raises(LimbeckError, match=r"there is no folder '.*'\. Give the folder that pipeline.save_pretr"):
            diffusers_teacher(model=missing)


def test_two_denoisers_and_a_time_per_token_are_refused(changed, no_weights):
    place = changed("wan", {"transformer_2": ["diffusers", "WanTransformer3DModel"]})
    with pytest.raises(LimbeckError, match=r"two denoisers.*Take one such as Wan 2\.1"):
        video_teacher(model=place)
    index = Path(place, "model_index.json")
    index.write_text(
        json.dumps(json.loads(index.read_text()) | {"transformer_2": [None, None], "expand_timesteps": True})
    )
    with pytest.raises(LimbeckError, match="one time per token"):
        video_teacher(model=place)


def test_another_modality_names_the_component_that_fits(tiny_folder, no_weights):
    with pytest.raises(LimbeckError, match="a pipeline of Wan, which makes video, not image. Write use: video/diffu"):
        image_teacher(model=tiny_folder("wan"))


def test_missing_weights_are_told_in_our_words(changed):
    place = changed("sd15")
    for file in Path(place, "unet").glob("*.safetensors"):
        file.unlink()
    with pytest.raises(LimbeckError, match=r"\(Stable Diffusion 1 and 2\) could not be loaded: .*Save the pipeline ag"):
        diffusers_teacher(model=place)


def test_a_variant_that_is_not_there_names_the_option(tiny_folder):
    with pytest.raises(LimbeckError, match="Check `variant`"):
        diffusers_teacher(model=tiny_folder("sd15"), variant="fp16")


def test_without_diffusers_the_extra_is_named(monkeypatch, tiny_folder):
    import sys

    place = tiny_folder("sd15")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(PluginLoadError, match=r'Install them with: pip install "limbeck-diffusion\[diffusers\]"'):
        diffusers_teacher(model=place)


def test_a_library_that_a_pipeline_lacks_is_named_with_the_extra(tiny_folder, monkeypatch):
    import diffusers

    def fail(*arguments: Any, **options: Any) -> Any:
        raise ImportError("\nCosineDPMSolverMultistepScheduler requires the torchsde library but it was not found")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", fail)
    with pytest.raises(LimbeckError, match=r'torchsde library.*; pip install "limbeck-audio\[diffusers\]" brings'):
        diffusers_teacher(model=tiny_folder("stable_audio"))


# --- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_pipeline_that_is_not_in_the_cache_cannot_be_had_without_a_network(hub):
    with pytest.raises(LimbeckError, match=r"'acme/tiny' is not on this machine.*Connect to the network once"):
        diffusers_teacher(model="acme/tiny")


def test_a_cached_pipeline_needs_no_network(hub, tiny_folder, monkeypatch):
    import huggingface_hub

    snapshot = hub / "models--acme--tiny" / "snapshots" / ("a" * 40)
    shutil.copytree(tiny_folder("sd15"), snapshot)
    (hub / "models--acme--tiny" / "refs").mkdir()
    (hub / "models--acme--tiny" / "refs" / "main").write_text("a" * 40)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    teacher = diffusers_teacher(model="acme/tiny")
    assert teacher.source["folder"] == str(snapshot) and teacher.encode(["a"])["prompt"].shape == (1, 8, 16)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("GatedRepoError", "accept it on its page and log in"),
        ("RepositoryNotFoundError", "Check the name"),
        ("RevisionNotFoundError", "Check `revision`"),
        ("LocalEntryNotFoundError", "Connect to the network once"),
    ],
)
def test_errors_of_the_hub_come_with_a_hint(hub, monkeypatch, error, hint):
    import huggingface_hub

    kind = type(error, (Exception,), {})

    def fail(*arguments: Any, **options: Any) -> Any:
        raise kind("something long\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(LimbeckError, match=f"'acme/tiny' .* from the hub: {error}: something long. .*{hint}"):
        diffusers_teacher(model="acme/tiny")


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sd15", {"height": 17}, "height must be a multiple of 2 .*; got 17. Try 16"),
        ("flux", {"height": 16, "width": 18}, "width must be a multiple of 4 .*; got 18. Try 16"),
        ("wan", {"height": 16, "width": 20, "frames": 5}, "width must be a multiple of 8 .*; got 20. Try 16"),
        ("wan", {"height": 16, "width": 16, "frames": 6}, "1 more than a multiple of 4 .*; got 6. Try 5"),
        ("dit", {"height": 32, "width": 32}, "makes images of 16x16 pixels only; got 32x32"),
        ("stable_audio", {"seconds": 5.0}, "between 0 and 4, the longest this model makes; got 5.0"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_the_nearest_that_can(tiny_folder, name, options, said):
    with pytest.raises(LimbeckError, match=said):
        diffusers_teacher(model=tiny_folder(name), **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sd15", {"frames": 5}),
        ("flux", {"seconds": 1.0}),
        ("stable_audio", {"height": 16}),
        ("dit", {"negative_prompt": "ugly"}),
        ("sd15", {"prompt_length": 8}),
        ("sd3", {"guidance_embedding": 2.0}),
    ],
)
def test_options_that_would_be_ignored_are_refused(tiny_folder, name, options):
    with pytest.raises(LimbeckError, match=f"{next(iter(options))} means nothing to this {BY_NAME[name].title}; got "):
        diffusers_teacher(model=tiny_folder(name), **options)


@pytest.mark.parametrize(
    ("name", "options", "event"),
    [
        ("sd15", {}, (4, 8, 8)),
        ("sd15", {"height": 32, "width": 16}, (4, 16, 8)),
        ("flux", {"height": 16, "width": 32}, (4, 8, 16)),
        ("wan", {"height": 16, "width": 24, "frames": 9}, (3, 4, 4, 6)),
        ("stable_audio", {}, (4, 16)),
    ],
)
def test_events_are_those_of_the_latents(tiny_folder, name, options, event):
    teacher = diffusers_teacher(model=tiny_folder(name), **options)
    assert teacher.space.event == event and teacher.space.domain == BY_NAME[name].domain
    assert teacher(torch.zeros(1, *event), torch.tensor([0.5])).x0_hat.shape == (1, *event)


# --- components ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["image", "video", "audio"])
@pytest.mark.parametrize("kind", ["teacher", "generator"])
def test_every_modality_brings_the_component_and_their_options_are_checked(modality, kind):
    entry = registry.find(kind, f"{modality}/diffusers")
    assert entry.component.modality == modality and callable(registry.resolve(kind, f"{modality}/diffusers"))
    titles = [family.title.partition(" 1")[0].partition(".")[0] for family in FAMILIES if family.modality == modality]
    assert all(title.partition(" ")[0] in entry.component.summary for title in titles)
    with pytest.raises(OptionError, match="heigth.*Did you mean 'height'"):
        registry.validated(kind, f"{modality}/diffusers", {"model": "x", "heigth": 8})


def test_a_student_of_its_own_pipeline_learns_and_needs_to_know_which(tiny_folder):
    student = image_student(model=tiny_folder("sd15"))
    assert student.training and all(parameter.requires_grad for parameter in student.parameters())
    with pytest.raises(OptionError, match=r"generator.model: .*Give model: FOLDER or OWNER/NAME, or init: teacher"):
        image_student()


def test_every_builder_has_its_family_and_every_family_a_builder():
    assert set(tiny_pipelines.BUILDERS) == set(BY_NAME)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_the_table_of_a_chain_is_met_at_its_timesteps():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    schedule = schedule_of(scheduler, 1)
    process, k = schedule.process, torch.arange(1000)
    assert isinstance(process, VPTable) and schedule.kind == "eps" and process.t_max == 1
    t = schedule.time(k.double())
    torch.testing.assert_close(schedule.timestep(t), k.double())
    torch.testing.assert_close(process.coefficients(t).alpha_t.square(), scheduler.alphas_cumprod.double())
    # float32 keeps whole timesteps to 1e-4: what the network's sines take
    assert (schedule.timestep(schedule.time(k.float())) - k).abs().max() < 1e-4
    # the grid of four uniform steps is diffusers' trailing one
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(4)
    assert schedule.timestep(torch.tensor([1.0, 0.75, 0.5, 0.25])).round().tolist() == scheduler.timesteps.tolist()


def test_between_timesteps_the_process_is_consistent_in_double_precision():
    process = VPTable(tuple((torch.linspace(0.99, 0.1, 7) ** 2).tolist()))
    t = torch.linspace(1e-3, 1 - 1e-3, 101, dtype=torch.float64, requires_grad=True)
    c = process.coefficients(t)
    torch.testing.assert_close(c.alpha_t**2 + c.sigma_t**2, torch.ones_like(t))
    for value, derivative in ((c.alpha_t, c.d_alpha_t), (c.sigma_t, c.d_sigma_t)):
        slope = torch.autograd.grad(value.sum(), t, retain_graph=True)[0]
        torch.testing.assert_close(slope, derivative, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(process.time(process.sigma_edm(t)), t, rtol=1e-10, atol=1e-12)
    x, eps = torch.randn(101, 3, dtype=torch.float64), torch.randn(101, 3, dtype=torch.float64)
    xt = process.add_noise(x, eps, t.detach())
    for kind in ("eps", "v", "velocity"):
        said = process.convert(x, "x0", kind, xt, t.detach())
        torch.testing.assert_close(process.convert(said, kind, "x0", xt, t.detach()), x, rtol=1e-9, atol=1e-9)
    ends = process.coefficients(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends.alpha_t[0] == 1 and ends.sigma_t[0] == 0 and math.isinf(ends.d_sigma_t[0])
    assert ends.alpha_t[1] == pytest.approx(0.1) and process.prior_std == pytest.approx(math.sqrt(0.99))


def test_zero_terminal_snr_stays_finite():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    assert scheduler.alphas_cumprod[-1] == 0
    schedule = schedule_of(scheduler, 1)
    xt, t = torch.randn(2, 3), torch.ones(2)
    x0 = schedule.process.convert(torch.randn(2, 3), schedule.kind, "x0", xt, t)
    assert schedule.kind == "v" and x0.isfinite().all()
    assert schedule.process.time(torch.tensor([1e9])).item() == 1


@pytest.mark.parametrize("table", [(), (0.5,), (0.5, 0.6), (1.2, 0.5), (float("nan"), 0.1)])
def test_a_table_that_does_not_fall_is_refused(table):
    with pytest.raises(ValueError, match="each below the one before"):
        VPTable(table)


@pytest.mark.parametrize(("kind", "tokens"), [("exponential", 16), ("exponential", 4096), ("linear", 4096)])
def test_a_dynamic_shift_is_that_of_the_scheduler(kind, tokens):
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    scheduler.set_timesteps(sigmas=[1.0, 0.7, 0.4, 0.1], mu=calculate_shift(tokens))
    process = schedule_of(scheduler, tokens).process
    assert process == RectifiedFlow(shift=dynamic_shift(scheduler.config, tokens))
    found = process.shifted(torch.tensor([1.0, 0.7, 0.4, 0.1]))
    torch.testing.assert_close(found, scheduler.sigmas[:-1], atol=1e-6, rtol=0)


def test_the_cosine_scheduler_is_the_cosine_path_with_v():
    from diffusers import CosineDPMSolverMultistepScheduler

    scheduler = CosineDPMSolverMultistepScheduler()
    schedule = schedule_of(scheduler, 1)
    assert schedule.process == VPCosine() and schedule.kind == "v"
    sigma = torch.tensor([0.3, 2.0, 500.0])
    t = schedule.process.time(sigma)
    torch.testing.assert_close(schedule.timestep(t), scheduler.precondition_noise(sigma))
    x, out = torch.randn(3, 5), torch.randn(3, 5)
    wanted = scheduler.precondition_outputs(x * (1 + sigma[:, None] ** 2).sqrt(), out, sigma[:, None])
    torch.testing.assert_close(schedule.process.convert(out, "v", "x0", x, t), wanted, atol=1e-4, rtol=1e-4)


def test_schedulers_of_other_kinds_are_refused():
    from diffusers import CosineDPMSolverMultistepScheduler, DDIMScheduler, KarrasVeScheduler

    with pytest.raises(LimbeckError, match="neither alphas_cumprod nor flow sigmas"):
        schedule_of(KarrasVeScheduler(), 1)
    with pytest.raises(LimbeckError, match="prediction_type: nonsense; known: epsilon"):
        schedule_of(DDIMScheduler(prediction_type="nonsense"), 1)
    with pytest.raises(LimbeckError, match="only sigma_data 1 with v_prediction is known"):
        schedule_of(CosineDPMSolverMultistepScheduler(sigma_data=0.5), 1)
