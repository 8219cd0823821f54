"""From a hub id or a folder to a teacher or a student."""

import inspect
from typing import Any

import torch

from limbeck.errors import LimbeckError, OptionError
from limbeck.interfaces import Space
from limbeck_diffusion.pipelines.adapter import PipelineTeacher
from limbeck_diffusion.pipelines.codecs import PipelineCodec
from limbeck_diffusion.pipelines.conditioning import PromptEncoder
from limbeck_diffusion.pipelines.families import Family
from limbeck_diffusion.pipelines.options import DiffusersStudentOptions, DiffusersTeacherOptions
from limbeck_diffusion.pipelines.schedule import schedule_of
from limbeck_diffusion.pipelines.sizes import resolve_size, tokens_of
from limbeck_diffusion.pipelines.source import PipelineSource, find

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def diffusers_teacher(modality: str | None = None, **options: Any) -> PipelineTeacher:
    """The denoiser of a saved pipeline as a teacher, frozen. Text encoders are loaded by the first new prompt."""
    chosen = DiffusersTeacherOptions(**options)
    source = find(chosen.model, modality=modality, revision=chosen.revision, variant=chosen.variant)
    dtype = _DTYPES[chosen.dtype]
    without = {name: None for name in source.family.text_parts if name in source.index} | _spare(source)
    pipeline = source.from_pretrained(**_dtype(dtype), **without)
    return teacher_of(pipeline, source, chosen)


def teacher_of(pipeline: Any, source: PipelineSource, chosen: DiffusersTeacherOptions) -> PipelineTeacher:
    """A teacher of a pipeline in memory; what it lacks (text encoders) is loaded from `source` when needed."""
    family = source.family
    _check_asked(pipeline, family, chosen)
    size, event = resolve_size(pipeline, family, chosen.height, chosen.width, chosen.frames, chosen.seconds)
    network, vae = getattr(pipeline, family.network), pipeline.vae
    if vae.dtype == torch.float16 and vae.config.get("force_upcast"):
        vae.float()  # overflows in half precision
    codec = PipelineCodec(vae, frames_first=family.modality == "video")
    encoder = None
    if family.text:

        def open_text() -> Any:
            held = {name: getattr(pipeline, name) for name in (family.network, "vae", "scheduler")}
            return source.from_pretrained(**_dtype(_DTYPES[chosen.dtype]), **held, **_spare(source))

        encoder = PromptEncoder(family, open_text, size, negative=chosen.negative_prompt, settings=_settings(chosen))
    teacher = PipelineTeacher(
        network,
        family,
        schedule_of(pipeline.scheduler, tokens_of(pipeline, family, event)),
        Space(event, family.domain, codec),
        encoder,
        guidance_embedding=3.5 if chosen.guidance_embedding is None else chosen.guidance_embedding,
        source={
            "model": source.model,
            "folder": None if source.folder is None else str(source.folder),
            "revision": source.revision,
            "variant": source.variant,
            "size": size,
            "labels": dict(getattr(pipeline, "labels", {})),
            "sampling_rate": vae.config.get("sampling_rate"),
        },
    )
    return teacher.freeze()


def _check_asked(pipeline: Any, family: Family, chosen: DiffusersTeacherOptions) -> None:
    """Refuse options that this pipeline would ignore."""
    config = getattr(pipeline, family.network).config
    prompts = inspect.signature(pipeline.encode_prompt).parameters if family.text else {}
    guided = bool(config.get("guidance_embeds")) or config.get("time_cond_proj_dim") is not None
    fits = {
        "height": family.modality != "audio",
        "width": family.modality != "audio",
        "frames": family.modality == "video",
        "seconds": family.modality == "audio",
        "negative_prompt": bool(family.text),
        "prompt_length": "max_sequence_length" in prompts,
        "guidance_embedding": guided,
    }
    for name, takes in fits.items():
        if not takes and getattr(chosen, name):
            raise LimbeckError(
                f"{name} means nothing to this {family.title}; got {getattr(chosen, name)!r}. Leave it out"
            )


def _spare(source: PipelineSource) -> dict[str, None]:
    """Components that neither predict nor encode prompts (a safety checker): not loaded."""
    spare = ("safety_checker", "feature_extractor", "image_encoder", "transformer_2")
    return {name: None for name in spare if name in source.index}


def _dtype(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The name of the argument: diffusers renamed it."""
    import diffusers
    from packaging.version import Version

    return {"dtype" if Version(diffusers.__version__) >= Version("0.42") else "torch_dtype": dtype}


def _settings(chosen: DiffusersTeacherOptions) -> dict[str, Any]:
    return {} if chosen.prompt_length is None else {"max_sequence_length": chosen.prompt_length}


def diffusers_student(modality: str | None = None, **options: Any) -> PipelineTeacher:
    """The denoiser of a saved pipeline, to train from its own weights (`init: random`). Copies of a teacher are made by
    the teacher."""
    chosen = DiffusersStudentOptions(**options)
    if not chosen.model:
        raise OptionError(
            "a student that is not a copy of the teacher needs the pipeline it starts from. Give model: FOLDER or "
            "OWNER/NAME, or init: teacher",
            path="generator.model",
        )
    teacher = diffusers_teacher(modality, **chosen.model_dump())
    return teacher.train().requires_grad_(True)


def image_teacher(**options: Any) -> PipelineTeacher:
    """`diffusers_teacher` for pipelines of images; others are refused."""
    return diffusers_teacher("image", **options)


def video_teacher(**options: Any) -> PipelineTeacher:
    """`diffusers_teacher` for pipelines of clips; others are refused."""
    return diffusers_teacher("video", **options)


def audio_teacher(**options: Any) -> PipelineTeacher:
    """`diffusers_teacher` for pipelines of sound; others are refused."""
    return diffusers_teacher("audio", **options)


def image_student(**options: Any) -> PipelineTeacher:
    """`diffusers_student` for pipelines of images; others are refused."""
    return diffusers_student("image", **options)


def video_student(**options: Any) -> PipelineTeacher:
    """`diffusers_student` for pipelines of clips; others are refused."""
    return diffusers_student("video", **options)


def audio_student(**options: Any) -> PipelineTeacher:
    """`diffusers_student` for pipelines of sound; others are refused."""
    return diffusers_student("audio", **options)
