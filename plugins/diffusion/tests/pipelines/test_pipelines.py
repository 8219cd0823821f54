"""Every diffusers family: a tiny pipeline is saved, loaded, and asked. The oracle is the pipeline's own call."""

import copy
import functools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import tiny_pipelines
import torch

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.networks.guidance import Guided
from limbeck.plugins.registry import registry
from limbeck.process.grids import time_grid
from limbeck.testing.conformance import GeneratorConformance, TeacherConformance
from limbeck_diffusion.networks.discriminator import FeatureHead
from limbeck_diffusion.objectives.matching.score_difference import Critic
from limbeck_diffusion.pipelines import source as pipeline_source
from limbeck_diffusion.pipelines.families import BY_NAME
from limbeck_diffusion.pipelines.loading import diffusers_teacher

SIZES: dict[str, dict[str, Any]] = {
    "flux": {"height": 16, "width": 16},
    "wan": {"height": 16, "width": 16, "frames": 5},
}
CUT = ("flux", "sd3", "sana", "wan")  # prompts are padded to hundreds of tokens unless told otherwise
PROMPTS = ["ab", "a cat"]
NAMES = tuple(tiny_pipelines.BUILDERS)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Should have:UserWarning"),  # torchsde, of its own rounding
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),
]


_TEACHERS: dict[Any, Any] = {}


def teacher_from(place: str, name: str, **options: Any) -> Any:
    """A teacher that tests share, so none may change it."""
    key = place, tuple(sorted(options.items()))
    if key not in _TEACHERS:
        short = {"prompt_length": 8} if name in CUT else {}
        _TEACHERS[key] = diffusers_teacher(model=place, **(SIZES.get(name, {}) | short | options))
    return _TEACHERS[key]


@functools.cache
def loaded(place: str) -> Any:
    from diffusers import DiffusionPipeline

    with pipeline_source.quiet():
        pipeline = DiffusionPipeline.from_pretrained(place, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# --- the oracle: a pipeline's own call, overheard --------------------------------------------------------------------


@dataclass
class Heard:
    """One step of a pipeline: what its scheduler was given, and x0 by the scheduler's own formula (None: no formula
    it offers)."""

    prediction: torch.Tensor  # guided, as the scheduler gets it
    timestep: torch.Tensor
    sample: torch.Tensor
    sigma: float | None
    x0: torch.Tensor | None


def overhear(pipeline: Any, *arguments: Any, **options: Any) -> list[Heard]:
    """Call the pipeline and write down every step."""
    scheduler, heard = pipeline.scheduler, []
    original = scheduler.step

    def step(model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *rest: Any, **more: Any) -> Any:
        if getattr(scheduler, "step_index", 0) is None:
            scheduler._init_step_index(timestep)
        sigmas = getattr(scheduler, "sigmas", None)
        sigma = None if sigmas is None else float(sigmas[scheduler.step_index])
        name, x0 = type(scheduler).__name__, None
        if name == "CosineDPMSolverMultistepScheduler":
            x0 = scheduler.convert_model_output(model_output, sample=sample)
        elif name == "FlowMatchEulerDiscreteScheduler":
            x0 = sample - sigma * model_output  # as in its own branch of stochastic sampling
        more["return_dict"] = True
        out = original(model_output, timestep, sample, *rest, **more)
        if x0 is None:
            x0 = getattr(out, "pred_original_sample", None)
        heard.append(Heard(model_output.clone(), torch.as_tensor(timestep), sample.clone(), sigma, x0))
        return out if name in ("CosineDPMSolverMultistepScheduler",) or "class_labels" in options else (out[0],)

    scheduler.step = step
    try:
        pipeline(*arguments, **options)
    finally:
        del scheduler.step
    return heard


def call(name: str, pipeline: Any, *, scale: float, steps: int = 3) -> list[Heard]:
    """A real call of the pipeline on two prompts, unguided at scale 1."""
    options: dict[str, Any] = {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
    if name == "dit":
        return overhear(pipeline, class_labels=[3, 998], guidance_scale=scale, output_type="pt", **options)
    options["output_type"] = "latent"
    if name in CUT:
        options["max_sequence_length"] = 8
    if name == "flux":  # its guidance_scale is the embedding; classifier-free guidance has another name
        options |= {"guidance_scale": 2.5, "true_cfg_scale": scale, "negative_prompt": ["", ""]}
    else:
        options["guidance_scale"] = scale
    if name == "sana":
        options |= {"use_resolution_binning": False, "height": 32, "width": 32}
    if name == "stable_audio":
        options["audio_end_in_s"] = 3.0
    if name == "wan":
        options |= {"num_frames": 5, "height": 16, "width": 16}
    if name in ("sd15", "sdxl", "sd3", "flux"):
        options |= {"height": 16, "width": 16}
    return overhear(pipeline, PROMPTS, **options)


def ours(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in the pipeline's layout in ours, by code of the test's own."""
    if name == "flux":  # tokens (B, 16, 16) -> (B, 4, 8, 8)
        from diffusers import FluxPipeline

        return FluxPipeline._unpack_latents(tensor, 16, 16, 2)
    if name == "wan":
        return tensor.permute(0, 2, 1, 3, 4)
    if name == "dit" and tensor.shape[0] == 4:  # the pipeline keeps both halves of a guided batch; they are equal
        return tensor[:2]
    return tensor


def state(name: str, heard: Heard) -> tuple[torch.Tensor, torch.Tensor]:
    """(xt, t) of our conventions for one step, by formulas of the test's own."""
    x = ours(name, heard.sample)
    if name in ("sd3", "flux", "sana", "wan"):
        return x, torch.full((2,), heard.sigma)
    if name == "stable_audio":
        return x / math.sqrt(1 + heard.sigma**2), torch.full((2,), 2 / math.pi * math.atan(heard.sigma))
    t = (heard.timestep.float().expand(2) + 1) / 1000
    return (x / math.sqrt(1 + heard.sigma**2) if heard.sigma is not None else x), t


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Equal to 1e-5 of the largest value: x0 from eps is divided by alpha_t, down to 0.07."""
    assert wanted.abs().max() > 0.05, "a comparison with nothing"
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def conditions_of(name: str) -> Any:
    return torch.tensor([3, 998]) if name == "dit" else PROMPTS


def compare(name: str, place: str, *, scale: float = 1.0, **options: Any) -> None:
    extra = {"guidance_embedding": 2.5} if name == "flux" else {"seconds": 3.0} if name == "stable_audio" else {}
    teacher = teacher_from(place, name, **(extra | options))
    guided = teacher if scale == 1 else Guided(teacher, scale)
    heard = call(name, loaded(place), scale=scale)
    assert len(heard) >= 3
    for step in heard:
        xt, t = state(name, step)
        with torch.no_grad():
            found = guided(xt, t, conditions_of(name)).x0_hat
            encoded = guided(xt, t, teacher.encode(PROMPTS) if name != "dit" else torch.tensor([3, 998])).x0_hat
        assert step.x0 is not None
        close(found, ours(name, step.x0))
        torch.testing.assert_close(encoded, found)


@pytest.mark.parametrize("name", NAMES)
def test_the_teacher_says_what_the_pipelines_own_denoiser_says(tiny_folder, name):
    compare(name, tiny_folder(name))


@pytest.mark.parametrize("name", NAMES)
def test_guidance_is_the_pipelines_own_combination(tiny_folder, name):
    compare(name, tiny_folder(name), scale=4.0)


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("sd15", {"prediction": "v_prediction"}, 3.0),
        ("sdxl", {"force_zeros": False}, 3.0),
        ("dit", {"learned_sigma": False}, 3.0),
        ("flux", {"guidance": False}, 1.0),
    ],
)
def test_variants_of_a_family_follow_from_their_configurations(tiny_folder, name, options, scale):
    asked = {"guidance_embedding": None} if name == "flux" else {}
    compare(name, tiny_folder(name, **options), scale=scale, **asked)


def test_a_u_net_that_takes_guidance_as_an_input_is_told_it(tmp_path):
    pipeline = tiny_pipelines.build("sd15")
    network = tiny_pipelines.unet(time_cond_proj_dim=6)
    torch.nn.init.normal_(network.time_embedding.cond_proj.weight)
    pipeline.register_modules(unet=network)
    pipeline.save_pretrained(tmp_path)
    teacher = teacher_from(str(tmp_path), "sd15", guidance_embedding=7.5)
    for step in call("sd15", loaded(str(tmp_path)), scale=7.5):
        xt, t = state("sd15", step)
        found = teacher(xt, t, PROMPTS).x0_hat
        close(found, step.x0)
        other = teacher(xt, t, teacher.encode(PROMPTS).but(guidance=torch.tensor([7.5, 1.0]))).x0_hat
        torch.testing.assert_close(other[0], found[0])
        assert (other[1] - found[1]).abs().max() > 1e-4 * found.abs().max()


@pytest.mark.parametrize(("name", "scheduler"), [("wan", "UniPC"), ("sana", "DPMSolver"), ("sd15", "PNDM")])
def test_solvers_of_higher_order_are_heard_at_their_own_timesteps(tiny_folder, name, scheduler):
    """They round flow timesteps to whole numbers and not their sigmas: the network's predictions there are compared."""
    import diffusers

    place = tiny_folder(name)
    pipeline = copy.copy(loaded(place))
    if scheduler == "PNDM":
        pipeline.scheduler = diffusers.PNDMScheduler.from_config(pipeline.scheduler.config, skip_prk_steps=True)
    else:
        cls = getattr(diffusers, f"{scheduler}MultistepScheduler")
        pipeline.scheduler = cls(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    teacher = teacher_from(place, name)
    for step in call(name, pipeline, scale=1.0):
        xt = ours(name, step.sample)
        t = teacher.schedule.time(step.timestep.float()).expand(2)
        said = teacher.process.convert(teacher(xt, t, PROMPTS).x0_hat, "x0", teacher.schedule.kind, xt, t)
        close(said, ours(name, step.prediction), 3e-5)


def test_a_dynamic_shift_is_the_pipelines_own(tiny_folder):
    teacher, pipeline = teacher_from(tiny_folder("flux"), "flux"), loaded(tiny_folder("flux"))
    call("flux", pipeline, scale=1.0, steps=5)
    sigmas = pipeline.scheduler.sigmas  # 5 steps from 1 to 0, shifted for 16 tokens
    assert 1.5 < teacher.process.shift < 1.7
    pipelines_own = torch.cat([torch.linspace(1, 0.2, 5).double(), torch.zeros(1)])
    torch.testing.assert_close(teacher.process.shifted(pipelines_own), sigmas.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(time_grid(teacher.process, 5), sigmas.double(), atol=1e-6, rtol=0)


# --- conditions ------------------------------------------------------------------------------------------------------


def noisy(teacher: Any, rows: int = 2, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, *teacher.space.event, generator=generator), torch.full((rows,), 0.6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dit"])
def test_every_condition_reaches_the_network(tiny_folder, name):
    teacher = teacher_from(tiny_folder(name), name)
    cond = teacher.encode(PROMPTS)
    assert set(cond) == set(teacher.family.inputs.values())
    xt, t = noisy(teacher)
    with torch.no_grad():
        plain = teacher(xt, t, cond).x0_hat
        for key in cond:
            changed = cond[key].clone()
            changed[1] = 0 if key == "mask" else changed[1] + 1
            found = teacher(xt, t, cond.but(**{key: changed})).x0_hat
            assert torch.equal(found[0], plain[0]), f"{key} of one row reached another"
            assert (found[1] - plain[1]).abs().max() > 1e-5, f"{key} changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_is_the_familys_null_in_every_way_of_saying_it(tiny_folder, name):
    teacher = teacher_from(tiny_folder(name), name)
    xt, t = noisy(teacher)
    cond = torch.tensor([3, 4]) if name == "dit" else teacher.encode(PROMPTS)
    with torch.no_grad():
        by_null, by_none = teacher(xt, t, teacher.null(cond)).x0_hat, teacher(xt, t, None).x0_hat
        by_text, prompted = teacher(xt, t, ["", ""]).x0_hat, teacher(xt, t, cond).x0_hat
    assert torch.equal(by_none, by_text)
    torch.testing.assert_close(by_null, by_text)
    assert (prompted - by_text).abs().max() > 1e-5
    assert teacher.null(PROMPTS) == ["", ""]


def test_a_row_may_bring_its_own_negative_conditions(tiny_folder):
    teacher = teacher_from(tiny_folder("sdxl"), "sdxl")
    cond, against = teacher.encode(PROMPTS), teacher.encode(["ugly", "bad"])
    own = {f"negative_{key}": against[key] for key in ("prompt", "pooled")}
    null = teacher.null(cond.but(**own))
    assert torch.equal(null["prompt"], against["prompt"]) and torch.equal(null["pooled"], against["pooled"])
    assert torch.equal(null["time_ids"], cond["time_ids"])
    by_option = teacher_from(tiny_folder("sdxl"), "sdxl", negative_prompt="ugly")
    torch.testing.assert_close(by_option.null(cond)["prompt"][0], against["prompt"][0])


def test_sizes_that_the_network_is_told_are_those_of_the_sample(tiny_folder):
    teacher = teacher_from(tiny_folder("sdxl"), "sdxl", height=16, width=32)
    assert teacher.space.event == (4, 8, 16)
    assert teacher.encode(["a"])["time_ids"].tolist() == [[16, 32, 0, 0, 16, 32]]


def test_usual_lengths_of_prompts_are_those_of_the_pipelines_call(tiny_folder):
    place = tiny_folder("wan")
    assert diffusers_teacher(model=place, **SIZES["wan"]).encode(["a"])["prompt"].shape == (1, 512, 16)
    assert diffusers_teacher(model=place, prompt_length=8, **SIZES["wan"]).encode(["a"])["prompt"].shape == (1, 8, 16)


def test_a_prompts_row_does_not_depend_on_its_neighbours_and_is_encoded_once(tiny_folder, monkeypatch):
    teacher = teacher_from(tiny_folder("sd3"), "sd3")
    together = teacher.encode(["a", "b", "a"])
    calls = []
    monkeypatch.setattr(teacher.prompts, "_row", lambda prompt: calls.append(prompt))
    assert torch.equal(teacher.encode(["b"])["prompt"], together["prompt"][1:2]) and not calls
    assert torch.equal(together["prompt"][0], together["prompt"][2])


def test_classes_have_numbers_and_names(tiny_folder):
    teacher = teacher_from(tiny_folder("dit"), "dit")
    assert teacher.no_label == 1000
    assert teacher.encode(["class 7", "12", ""]).tolist() == [7, 12, 1000]
    with pytest.raises(
        LimbeckError, match=r"no class 'zebra' in this DiT. Give a number below 1000, or a name such as"
    ):
        teacher.encode(["zebra"])


@pytest.mark.parametrize(
    ("cond", "said"),
    [
        (lambda t: Conditions(pooled=torch.zeros(2, 4)), "needs the condition 'prompt'; got pooled"),
        (lambda t: [3, 4], "a prompt is a text; got 3, a int"),
        (lambda t: [], "no prompts were given"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(tiny_folder, cond, said):
    teacher = teacher_from(tiny_folder("sd15"), "sd15")
    with pytest.raises(LimbeckError, match=said):
        teacher(*noisy(teacher), cond(teacher))


def test_latents_of_another_size_are_refused(tiny_folder):
    teacher = teacher_from(tiny_folder("sd15"), "sd15")
    with pytest.raises(LimbeckError, match=r"got latents \(4, 4, 8\), but this .* was set up for \(4, 8, 8\)"):
        teacher(torch.zeros(2, 4, 4, 8), torch.full((2,), 0.5), PROMPTS)
    with pytest.raises(TypeError, match="no second time"):
        teacher(*noisy(teacher), PROMPTS, s=torch.zeros(2))


# --- codec, features, copies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_decoded_as_the_pipeline_decodes_them(tiny_folder, name):
    pipeline, codec = loaded(tiny_folder(name)), teacher_from(tiny_folder(name), name).space.codec
    shown: list[Any] = []

    def ask(kind: str) -> Any:
        options = {"generator": torch.Generator().manual_seed(3), "num_inference_steps": 1, "output_type": kind}
        return call_for_output(name, pipeline, options)

    shown.append(ask("pt"))
    with torch.no_grad():
        if name == "dit":  # it has no output_type latent: what goes into its autoencoder is overheard
            latents = overheard_latents(pipeline, lambda: ask("pt"))
        else:
            latents = ours(name, ask("latent"))
        found = codec.decode(latents)
        assert found.shape[0] == 1
        if name == "stable_audio":
            torch.testing.assert_close(found, shown[0])
        else:
            torch.testing.assert_close((found / 2 + 0.5).clamp(0, 1), shown[0], atol=2e-5, rtol=0)
        # and back: the same affine map around the autoencoder's own encoder
        vae = pipeline.vae
        given = found.transpose(1, 2) if name == "wan" else found
        raw = vae.encode(given, return_dict=False)[0]
        raw = raw if isinstance(raw, torch.Tensor) else raw.mode()
        torch.testing.assert_close(codec.encode(found), scaled(name, vae.config, raw), atol=1e-4, rtol=1e-4)


def scaled(name: str, config: Any, raw: torch.Tensor) -> torch.Tensor:
    """Latents of the autoencoder as the pipelines scale them, by hand."""
    if name == "wan":
        mean, std = (torch.tensor(v).reshape(1, -1, 1, 1, 1) for v in (config.latents_mean, config.latents_std))
        return ((raw - mean) / std).transpose(1, 2)
    if name in ("sd3", "flux"):
        return (raw - config.shift_factor) * config.scaling_factor
    return raw if name == "stable_audio" else raw * config.scaling_factor


def call_for_output(name: str, pipeline: Any, options: dict[str, Any]) -> torch.Tensor:
    options["guidance_scale"] = 1.0
    if name == "dit":
        return pipeline([3], **options)[0]
    if name in CUT:
        options["max_sequence_length"] = 8
    side = 32 if name == "sana" else 16
    if name != "stable_audio":
        options |= {"height": side, "width": side}
    if name == "wan":
        options["num_frames"] = 5
    if name == "sana":
        options["use_resolution_binning"] = False
    return pipeline("a", **options)[0]


def overheard_latents(pipeline: Any, ask: Any) -> torch.Tensor:
    heard = []
    decode = pipeline.vae.decode
    pipeline.vae.decode = lambda latents, **more: (heard.append(latents), decode(latents, **more))[1]
    try:
        ask()
    finally:
        del pipeline.vae.decode
    return heard[0] * pipeline.vae.config.scaling_factor


@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_are_those_of_the_blocks_and_no_hook_stays(tiny_folder, name):
    teacher = teacher_from(tiny_folder(name), name)
    xt, t = noisy(teacher)
    blocks = teacher.blocks()
    with torch.no_grad():
        plain = teacher(xt, t, None)
        asked = teacher(xt, t, None, features=(0, -1, 0))
        seen = []
        handle = blocks[-1].register_forward_hook(lambda module, inputs, out: seen.append(out))
        teacher(xt, t, None)
        handle.remove()
    own = seen[0][teacher.family.hidden] if isinstance(seen[0], tuple) else seen[0]
    assert torch.equal(asked.features[1], own.transpose(1, 2) if own.ndim == 3 else own)
    assert torch.equal(asked.x0_hat, plain.x0_hat) and plain.features == ()
    assert asked.features[0] is asked.features[2] and all(f.shape[0] == 2 for f in asked.features)
    with pytest.raises(ValueError, match=f"features {len(blocks)} does not exist; .* blocks 0 to {len(blocks) - 1}"):
        teacher(xt, t, None, features=(0, len(blocks)))
    assert not any(module._forward_hooks for module in teacher.modules()), "a hook stayed"


def test_hidden_states_of_copies_and_wrapped_ones_are_their_own_and_carry_gradients(tiny_folder):
    """The critic of dmd2 with its discriminator, inside DistributedDataParallel."""
    import torch.distributed as dist

    teacher = teacher_from(tiny_folder("flux"), "flux")
    student = teacher.trainable_copy()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.1)
    xt, t = noisy(teacher)
    mine, theirs = (
        student(xt, t, PROMPTS, features=(-1,)).features[0],
        teacher(xt, t, PROMPTS, features=(-1,)).features[0],
    )
    assert (mine - theirs).abs().max() > 1e-3
    critic = Critic(student, (-1,), FeatureHead([mine.shape[1]]))
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(critic, find_unused_parameters=True)
        wrapped(xt, t, PROMPTS).x0_hat.square().mean().backward()
    finally:
        dist.destroy_process_group()
    assert all(parameter.grad is not None for parameter in student.network.proj_out.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_copies_share_what_never_learns_and_save_the_network_alone(tiny_folder):
    teacher = teacher_from(tiny_folder("sd15"), "sd15")
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert set(teacher.state_dict()) == {f"network.{key}" for key in teacher.network.state_dict()}
    for twin in (teacher.trainable_copy(), copy.deepcopy(teacher)):
        assert twin.space.codec is teacher.space.codec and twin.prompts is teacher.prompts
        assert twin.network is not teacher.network
        xt, t = noisy(teacher)
        assert torch.equal(twin.eval()(xt, t, PROMPTS).x0_hat, teacher(xt, t, PROMPTS).x0_hat)
    student = teacher.trainable_copy()
    assert student.training and all(parameter.requires_grad for parameter in student.parameters())
    assert not student.space.codec.training and not any(p.requires_grad for p in student.space.codec.parameters())


@pytest.mark.parametrize("name", ["sd15", "flux", "stable_audio"])
def test_other_types_of_weights_answer_in_the_type_of_the_latents(tiny_folder, name):
    exact = copy.deepcopy(teacher_from(tiny_folder(name), name))
    half = teacher_from(tiny_folder(name), name, dtype="bfloat16")
    xt, t = noisy(exact)
    with torch.no_grad():
        wanted, found = exact(xt, t, PROMPTS).x0_hat, half(xt, t, PROMPTS).x0_hat
        assert half.network.dtype == torch.bfloat16 and found.dtype == torch.float32
        assert 0 < (found - wanted).abs().max() < 0.1 * wanted.abs().max()
        double = exact.double()(xt.double(), t.double(), PROMPTS).x0_hat
        assert double.dtype == torch.float64
        torch.testing.assert_close(double.float(), wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0)
        assert next(exact.space.codec.parameters()).dtype == torch.float32
        assert exact.space.codec.decode(xt.double()).dtype == torch.float64


def test_gradients_reach_the_latents_and_go_through_the_codec(tiny_folder):
    teacher = teacher_from(tiny_folder("sd15"), "sd15")
    pixels = torch.rand(1, 3, 16, 16, requires_grad=True)
    xt = teacher.space.codec.encode(pixels)
    teacher(xt, torch.tensor([0.5]), ["a"]).x0_hat.square().mean().backward()
    assert pixels.grad is not None and pixels.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in teacher.space.codec.parameters())


def test_latents_of_another_autoencoder_are_told_apart(tiny_folder):
    one, same = (teacher_from(tiny_folder("sd15"), "sd15").space.codec for _ in range(2))
    other = teacher_from(tiny_folder("sdxl"), "sdxl").space.codec
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", [TeacherConformance, GeneratorConformance])
@pytest.mark.parametrize("name", ["dit", *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES if n != "dit")])
def test_every_family_keeps_the_contract_of_predictors(tiny_folder, name, kit):
    family = BY_NAME[name]

    class Kit(kit):
        can = registry.find(kit.kind, f"{family.modality}/diffusers").component.can

        def make(self) -> Any:
            _TEACHERS.clear()
            made = teacher_from(tiny_folder(name), name)
            return made if kit.kind == "teacher" else made.train().requires_grad_(True)

        def conditions(self, n: int) -> Any:
            return torch.arange(n) if name == "dit" else [chr(ord("a") + i) for i in range(n)]

    report = Kit().report()
    _TEACHERS.clear()
    assert report, [r for r in report.results if not r.ok]
