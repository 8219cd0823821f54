"""Students leave as pipelines of diffusers: whole (`diffusers`), or as adapters on the teacher's (`lora`).

Both write the scheduler that walks as our sampler does (`few_step`), what the pipeline's call is to be given
(call.json), and a model card. Neither needs Limbeck to be loaded.
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from limbeck.errors import LimbeckError
from limbeck.export.card import about
from limbeck.export.folder import prepare
from limbeck.interfaces import unwrap
from limbeck.sampling.rollouts import Plan
from limbeck_diffusion.pipelines import lora
from limbeck_diffusion.pipelines.adapter import PipelineTeacher
from limbeck_diffusion.pipelines.few_step import FewStep, few_step, plan_of
from limbeck_diffusion.pipelines.source import PipelineSource, find, quiet

CARD, CALL = "README.md", "call.json"
DTYPE = Literal["float32", "bfloat16", "float16"]
KINDS = {"image": "text-to-image", "video": "text-to-video", "audio": "text-to-audio"}


def export_diffusers(
    run: Any, directory: Path | str, *, dtype: DTYPE = "float32", overwrite: bool = False
) -> list[Path]:
    """The teacher's pipeline with the student in place of its denoiser (adapters folded in) and the scheduler of its
    few steps: `DiffusionPipeline.from_pretrained(directory)`."""
    student = _student(run)
    source, plan = _source(student), _plan(run, student)
    part = {student.family.network: _plain(student)}
    pipeline = source.from_pretrained(**part)
    found = _few_step(student, pipeline.scheduler, plan, type(pipeline))
    directory = prepare(directory, overwrite)
    # the network once more: from_pretrained of Wan loads its own in spite of the one that it is given
    pipeline.register_modules(**part, scheduler=found.scheduler)
    _unnamed(pipeline)
    with quiet():
        if dtype != "float32":
            pipeline.to(getattr(torch, dtype))
        pipeline.save_pretrained(directory, safe_serialization=True)
    call = _call(pipeline, student, found)
    loading = [
        "import torch",
        "from diffusers import DiffusionPipeline",
        "",
        'pipe = DiffusionPipeline.from_pretrained(".")',
    ]
    _describe(run, directory, student, source, plan, call, loading, type(pipeline).__name__)
    return sorted(path for path in directory.rglob("*") if path.is_file())


def export_lora(run: Any, directory: Path | str, *, dtype: DTYPE = "float32", overwrite: bool = False) -> list[Path]:
    """The adapters alone, in diffusers' own format (`pipe.load_lora_weights(directory)`), and the scheduler; in peft's
    where a pipeline has no loader of its own."""
    student = _student(run)
    if not lora.is_adapted(student.network):
        raise LimbeckError(
            "this run trained the whole network, so there are no adapters to write. Export the pipeline with --to "
            "diffusers, or train adapters: generator: {use: ..., init: teacher, lora: {rank: 16}}"
        )
    source, plan = _source(student), _plan(run, student)
    kind, own = _class(source), _scheduler(source)
    found = _few_step(student, own, plan, kind)
    directory = prepare(directory, overwrite)
    tensors = {name: t.to(getattr(torch, dtype)) for name, t in lora.adapter_tensors(student.network).items()}
    part, config = student.family.network, lora.adapter_config(student.network)
    if hasattr(kind, "save_lora_weights"):
        layers: dict[str, Any] = {f"{part}_lora_layers": tensors, f"{part}_lora_adapter_metadata": config}
        kind.save_lora_weights(directory, safe_serialization=True, **layers)
        loading = ['pipe.load_lora_weights(".")']
        imports = []
    else:
        imports, loading = _as_peft(directory, tensors, config, part)
    found.scheduler.save_pretrained(directory / "scheduler")
    scheduler, base = type(found.scheduler).__name__, _base(source)
    call = _call(kind, student, found)
    lines = [
        "import torch",
        f"from diffusers import DiffusionPipeline, {scheduler}",
        *imports,
        "",
        f'pipe = DiffusionPipeline.from_pretrained("{base}")',
        *loading,
        f'pipe.scheduler = {scheduler}.from_pretrained("./scheduler")',
    ]
    _describe(run, directory, student, source, plan, call, lines, kind.__name__)
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _as_peft(directory: Path, tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any], part: str) -> Any:
    """adapter_model.safetensors and adapter_config.json; (imports, lines that load them)."""
    from safetensors.torch import save_file

    save_file(dict(tensors), directory / "adapter_model.safetensors", metadata={"format": "pt"})
    text = json.dumps({"peft_type": "LORA", **config}, indent=2, sort_keys=True)
    (directory / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    imports = [
        "from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict",
        "from safetensors.torch import load_file",
    ]
    loading = [
        f'inject_adapter_in_model(LoraConfig.from_pretrained("."), pipe.{part})',
        f'set_peft_model_state_dict(pipe.{part}, load_file("adapter_model.safetensors"))',
    ]
    return imports, loading


# --- what is exported ------------------------------------------------------------------------------------------------


def _student(run: Any) -> PipelineTeacher:
    student = unwrap(run.generator())
    if not isinstance(student, PipelineTeacher):
        raise LimbeckError(
            f"the exporters diffusers and lora write networks of diffusers pipelines; {type(student).__name__} is "
            "none. For one that fits: limbeck list exporters"
        )
    return student


def _plan(run: Any, student: PipelineTeacher) -> Plan:
    if run.built.sampler is None:
        raise LimbeckError(
            "this run's recipe has no sampling block, so it is not known which scheduler its student needs. Add "
            "sampling: {use: multistep, steps: 4}"
        )
    return plan_of(run.built.sampler, student.process, run.built.sampling_steps)


def _source(student: PipelineTeacher) -> PipelineSource:
    """The pipeline that the student came from: everything but the denoiser is its."""
    source = student.source
    if not source.get("model"):
        raise LimbeckError(
            "the student's teacher was made of objects, so the rest of its pipeline is not known. Load it by "
            "teacher: {use: image/diffusers, model: FOLDER OR HUB ID}, or export weights: --to safetensors"
        )
    return find(source["model"], revision=source.get("revision"), variant=source.get("variant"))


def _plain(student: PipelineTeacher) -> nn.Module:
    """The student's network on the CPU, adapters folded in."""
    return lora.merged(student.network, device="cpu").eval().requires_grad_(False)


def _class(source: PipelineSource) -> Any:
    import diffusers

    return getattr(diffusers, source.index["_class_name"])


def _scheduler(source: PipelineSource) -> Any:
    import diffusers

    kind = getattr(diffusers, source.index["scheduler"][1])
    where = str(source.folder) if source.folder is not None else source.model
    return kind.from_pretrained(where, subfolder="scheduler", revision=source.revision)


def _unnamed(pipeline: Any) -> None:
    """Forget where components came from: files that leave name no folder of this machine."""
    for part in (pipeline, *pipeline.components.values()):
        config = getattr(part, "_internal_dict", None)
        if config is not None and "_name_or_path" in config:
            part._internal_dict = type(config)({k: v for k, v in config.items() if k != "_name_or_path"})
        theirs: Any = getattr(part, "config", None)
        if getattr(theirs, "_name_or_path", ""):
            theirs._name_or_path = ""


# --- how it is called ------------------------------------------------------------------------------------------------


def _few_step(student: PipelineTeacher, own: Any, plan: Plan, pipeline_class: Any) -> FewStep:
    takes = inspect.signature(pipeline_class.__call__).parameters
    return few_step(student.schedule, own, plan, takes, own_sigmas=student.family.own_sigmas)


def _call(pipeline: Any, student: PipelineTeacher, found: FewStep) -> dict[str, Any]:
    """Arguments with which the pipeline samples as we do, prompts and seeds apart."""
    kind = pipeline if inspect.isclass(pipeline) else type(pipeline)
    takes = inspect.signature(kind.__call__).parameters
    size, prompts = student.source.get("size"), student.prompts
    config = student.network.config
    embedded = bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None
    call: dict[str, Any] = dict(found.arguments)
    # a distilled student needs no guidance; a network that takes a scale gets the one it was trained with
    call["guidance_scale"] = float(student.guidance_embedding) if embedded else 1.0
    for name, value in (
        ("height", getattr(size, "height", None)),
        ("width", getattr(size, "width", None)),
        ("num_frames", getattr(size, "frames", None)),
        ("audio_end_in_s", getattr(size, "seconds", None)),
        ("max_sequence_length", prompts.settings.get("max_sequence_length") if prompts is not None else None),
        ("use_resolution_binning", False),
    ):
        if name in takes and value is not None:
            call[name] = value
    return call


# --- the card --------------------------------------------------------------------------------------------------------


def _base(source: PipelineSource) -> str:
    """How the base is named in a card: its hub id, or a folder's own name, never a path of this machine."""
    if source.folder is None or not Path(source.model).expanduser().is_dir():
        return source.model
    return Path(source.model).expanduser().resolve().name


def _describe(
    run: Any, directory: Path, student: PipelineTeacher, source: PipelineSource, plan: Plan, call: Mapping[str, Any],
    loading: list[str], pipeline: str,
) -> None:  # fmt: skip
    text = json.dumps(dict(call), indent=2, sort_keys=True)
    (directory / CALL).write_text(text + "\n", encoding="utf-8")
    card = _card(run, student, source, plan, call, loading, pipeline)
    if _base(source) != source.model:  # a folder of this machine, in the recipe
        card = card.replace(source.model, _base(source))
    (directory / CARD).write_text(card, encoding="utf-8")


def _card(
    run: Any, student: PipelineTeacher, source: PipelineSource, plan: Plan, call: Mapping[str, Any], loading: list[str],
    pipeline: str,
) -> str:  # fmt: skip
    from limbeck import __version__

    recipe, family, base = run.recipe, student.family, _base(source)
    adapted = lora.is_adapted(student.network)
    hub = base == source.model
    given = "class_labels=[207]" if family.null == "label" else 'prompt="a fox in the snow"'
    kind = KINDS[family.modality]
    teacher = recipe.teacher
    guidance = getattr(teacher, "guidance", None) if teacher is not None else None
    learned = sum(p.numel() for name, p in student.network.named_parameters() if lora.is_adapter(name) or not adapted)
    scale = f", guided by {_scale(guidance)}" if guidance is not None else ""
    trained = (
        f"low-rank adapters ({learned:,} parameters)" if adapted else f"the whole network ({learned:,} parameters)"
    )
    steps = f"{plan.steps} step{'s' if plan.steps != 1 else ''}"
    output = {"image": "images", "video": "frames", "audio": "audios"}[family.modality]
    lines = [
        "---",
        "library_name: diffusers",
        f"pipeline_tag: {kind if family.null != 'label' else 'unconditional-image-generation'}",
        *([f"base_model: {base}"] if hub else []),
        "tags:",
        "- limbeck",
        "- distillation",
        *(["- lora"] if adapted else []),
        "---",
        "",
        f"# {recipe.name}",
        "",
        f"{family.title} in {steps}: `{base}` distilled with `{recipe.objective.use}` by Limbeck {__version__}"
        f"{scale}. Trained: {trained}.",
        "",
        "## Load it",
        "",
        f"Plain diffusers is enough ({pipeline}). Use these settings: it was made for {steps} and no guidance beside "
        "what its network is given.",
        "",
        "```python",
        *loading,
        "torch.manual_seed(0)",
        f"{output} = pipe({given}, {', '.join(f'{key}={value!r}' for key, value in call.items())}).{output}",
        "```",
        "",
        "| | |",
        "| --- | --- |",
        f"| base | {base if hub else f'{base} (the folder of the pipeline it was distilled from)'} |",
        f"| objective | {recipe.objective.use} |",
        f"| calls of the network | {plan.steps}, at t = {', '.join(f'{t:.4g}' for t in plan.times)} |",
        f"| between calls | {'fresh noise' if plan.transition == 'renoise' else 'a deterministic step'} |",
        f"| guidance | {call['guidance_scale']:g} |",
        "| licence | that of the base holds for this model too: see its model card |",
        "",
        *about(run),
    ]
    return "\n".join(lines) + "\n"


def _scale(guidance: Any) -> str:
    scale = guidance.scale
    return f"{scale:g}" if isinstance(scale, int | float) else str(scale)


__all__ = ["CALL", "CARD", "export_diffusers", "export_lora"]
