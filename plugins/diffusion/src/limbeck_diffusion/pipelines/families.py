"""What is particular to each family of diffusers pipelines: one table of facts, read by one adapter and one loader.

A fact stands here only where pipelines differ and their configuration has none. Prediction type, noise schedule, time
shift, latent scale and shift, guidance embedding, learned variance and sizes come from the configurations.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.errors import LimbeckError, did_you_mean
from limbeck_diffusion.pipelines import layouts

_LINEAR = ("to_q", "to_k", "to_v", "to_out.0")
_JOINT = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
_ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")

# Everything that walks a table of alphas_cumprod, and everything that walks flow sigmas when configured to.
_DISCRETE = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
_FLOW = (
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Facts of one family.

    name, title: registry-like name and the one people use.
    modality, domain: where it belongs, and the domain of what its codec decodes to.
    pipelines: classes that `model_index.json` may name.
    network: the component that is distilled, `unet` or `transformer`.
    schedulers: classes whose training schedule this family may have.
    few_step: schedulers a few-step student is exported with, the usual one first.
    own_sigmas: the pipeline's call gives its scheduler 1, (n - 1)/n, ..., 1/n; otherwise the grid is the scheduler's.
    inputs: argument of the network -> name of the condition; a dot enters a dictionary.
    text: name of the condition -> its position in what `encode_prompt` returns; empty when there is no prompt.
    text_parts: components that only turn prompts into conditions.
    more: adds conditions that are not text: `more(pipeline, conditions, size)`.
    null: what stands for "no prompt": the embedding of an empty one (`empty`), zeros, or a class label (`label`).
    null_keeps: conditions that stay as they are without a prompt (sizes, durations).
    clock: the time that the network is given: the scheduler's `timestep`, or its `fraction` of the whole chain.
    token_time: the network takes a time for every token too, so frames may have noise levels of their own.
    positions: more arguments that follow from shapes alone: `positions(network, latents, conditions)`.
    layout: how latents (B, *event) become the network's input and back.
    blocks: attributes whose modules are counted by `features`, in order.
    hidden: which element of a block's output is the hidden state, where a block returns several.
    lora: names of layers that low-rank adapters go to.
    latent_side: side of the latents of the usual image, where the network's configuration has none.
    """

    name: str
    title: str
    modality: Literal["image", "video", "audio"]
    domain: str
    pipelines: tuple[str, ...]
    network: Literal["unet", "transformer"]
    schedulers: tuple[str, ...]
    few_step: tuple[str, ...]
    inputs: Mapping[str, str]
    text: Mapping[str, int] = field(default_factory=dict)
    text_parts: tuple[str, ...] = ("text_encoder", "tokenizer")
    more: Callable[[Any, dict, Any], dict] | None = None
    null: Literal["empty", "zeros", "zeros_if_configured", "label"] = "empty"
    null_keeps: tuple[str, ...] = ()
    clock: Literal["timestep", "fraction"] = "timestep"
    token_time: bool = False
    positions: Callable[[Any, Any, Mapping], Mapping] | None = None
    layout: layouts.Layout = layouts.PLAIN
    blocks: tuple[str, ...] = ("transformer_blocks",)
    hidden: int = -1
    lora: tuple[str, ...] = _LINEAR
    latent_side: int | None = None
    own_sigmas: bool = False


_TEXT_2 = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
_TEXT_3 = (*_TEXT_2, "text_encoder_3", "tokenizer_3")
_UNET_BLOCKS = ("down_blocks", "mid_block")  # -1 is the middle, where DMD2's discriminator reads

FAMILIES: tuple[Family, ...] = (
    Family(
        name="sd15",
        title="Stable Diffusion 1 and 2",
        modality="image",
        domain="pixels",
        pipelines=("StableDiffusionPipeline",),
        network="unet",
        schedulers=_DISCRETE,
        few_step=("LCMScheduler", "DDIMScheduler", "TCDScheduler"),
        inputs={"encoder_hidden_states": "prompt"},
        text={"prompt": 0},
        blocks=_UNET_BLOCKS,
        hidden=0,
    ),
    Family(
        name="sdxl",
        title="Stable Diffusion XL",
        modality="image",
        domain="pixels",
        pipelines=("StableDiffusionXLPipeline",),
        network="unet",
        schedulers=_DISCRETE,
        few_step=("LCMScheduler", "DDIMScheduler", "TCDScheduler"),
        inputs={
            "encoder_hidden_states": "prompt",
            "added_cond_kwargs.text_embeds": "pooled",
            "added_cond_kwargs.time_ids": "time_ids",
        },
        text={"prompt": 0, "pooled": 2},
        text_parts=_TEXT_2,
        more=layouts.sdxl_time_ids,
        null="zeros_if_configured",
        null_keeps=("time_ids",),
        blocks=_UNET_BLOCKS,
        hidden=0,
    ),
    Family(
        name="sd3",
        title="Stable Diffusion 3",
        modality="image",
        domain="pixels",
        pipelines=("StableDiffusion3Pipeline",),
        network="transformer",
        schedulers=_FLOW,
        few_step=("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"),
        inputs={"encoder_hidden_states": "prompt", "pooled_projections": "pooled"},
        text={"prompt": 0, "pooled": 2},
        text_parts=_TEXT_3,
        lora=_JOINT + _ADDED,
    ),
    Family(
        name="flux",
        title="FLUX.1",
        modality="image",
        domain="pixels",
        pipelines=("FluxPipeline",),
        network="transformer",
        schedulers=_FLOW,
        few_step=("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"),
        inputs={"encoder_hidden_states": "prompt", "pooled_projections": "pooled"},
        text={"prompt": 0, "pooled": 1},
        text_parts=_TEXT_2,
        clock="fraction",
        positions=layouts.flux_ids,
        layout=layouts.PATCHES,
        blocks=("transformer_blocks", "single_transformer_blocks"),
        lora=_JOINT + _ADDED,
        latent_side=128,
        own_sigmas=True,
    ),
    Family(
        name="sana",
        title="SANA",
        modality="image",
        domain="pixels",
        pipelines=("SanaPipeline",),
        network="transformer",
        schedulers=_FLOW,
        few_step=("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"),
        inputs={"encoder_hidden_states": "prompt", "encoder_attention_mask": "mask"},
        text={"prompt": 0, "mask": 1},
    ),
    Family(
        name="dit",
        title="DiT",
        modality="image",
        domain="pixels",
        pipelines=("DiTPipeline",),
        network="transformer",
        schedulers=_DISCRETE,
        few_step=("LCMScheduler", "DDIMScheduler", "TCDScheduler"),
        inputs={"class_labels": "label"},
        text_parts=(),
        null="label",
    ),
    Family(
        name="wan",
        title="Wan",
        modality="video",
        domain="clip",
        pipelines=("WanPipeline",),
        network="transformer",
        schedulers=_FLOW,
        few_step=("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler", "UniPCMultistepScheduler"),
        inputs={"encoder_hidden_states": "prompt"},
        text={"prompt": 0},
        token_time=True,
        layout=layouts.CHANNELS_FIRST,
        blocks=("blocks",),
    ),
    Family(
        name="stable_audio",
        title="Stable Audio",
        modality="audio",
        domain="waveform",
        pipelines=("StableAudioPipeline",),
        network="transformer",
        schedulers=("CosineDPMSolverMultistepScheduler",),
        few_step=("CosineDPMSolverMultistepScheduler",),
        inputs={"encoder_hidden_states": "prompt", "global_hidden_states": "seconds"},
        text={"prompt": 0},
        text_parts=("text_encoder", "tokenizer", "projection_model"),
        more=layouts.audio_seconds,
        null="zeros",
        null_keeps=("seconds",),
        positions=layouts.audio_rotary,
    ),
)

BY_NAME = {family.name: family for family in FAMILIES}


def family_of(pipeline_class: str, where: str, modality: str | None = None) -> Family:
    """The family whose table line names this pipeline class.

    Raises:
        LimbeckError: no family does, or it belongs to another modality than the component's.
    """
    found = next((family for family in FAMILIES if pipeline_class in family.pipelines), None)
    if found is None:
        classes = [name for family in FAMILIES for name in family.pipelines]
        known = "; ".join(f"{family.title} ({', '.join(family.pipelines)})" for family in FAMILIES)
        raise LimbeckError(
            f"{where} holds a {pipeline_class}, a pipeline of no known family. {did_you_mean(pipeline_class, classes)}"
            f"Known: {known}"
        )
    if modality is not None and found.modality != modality:
        raise LimbeckError(
            f"{where} holds a pipeline of {found.title}, which makes {found.modality}, not {modality}. Write "
            f"use: {found.modality}/diffusers"
        )
    return found


def check_scheduler(family: Family, scheduler_class: str, where: str, allowed: Sequence[str] = ()) -> None:
    """Refuse a scheduler that the family was never trained or distilled with."""
    allowed = tuple(allowed) or family.schedulers
    if scheduler_class not in allowed:
        raise LimbeckError(
            f"{where}: {family.title} does not work with the scheduler {scheduler_class}. "
            f"{did_you_mean(scheduler_class, allowed)}Allowed: {', '.join(allowed)}. Load the pipeline with diffusers, "
            "set pipeline.scheduler to one of them (from_config keeps the settings) and save it again"
        )
