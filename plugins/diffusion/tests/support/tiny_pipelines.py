"""Tiny random pipelines of every diffusers family: a few thousand weights each, tokenizers of single letters, nothing
downloaded.

    build("sd15")                     # a DiffusionPipeline in memory
    saved("sd15", folder)             # saved with save_pretrained, the folder is returned
"""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

LETTERS = string.ascii_lowercase
VOCABULARY = 64  # rows of every text encoder's embedding


# --- tokenizers and text encoders ------------------------------------------------------------------------------------


def clip_tokenizer(length: int = 8) -> Any:
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=length)


def t5_tokenizer(length: int = 8) -> Any:
    from transformers import T5Tokenizer

    words = ["<pad>", "</s>", "<unk>", "▁", *LETTERS]
    return T5Tokenizer(vocab=[(w, -1.0) for w in words], extra_ids=0, model_max_length=length)


def gemma_tokenizer(length: int = 8) -> Any:
    from transformers import GemmaTokenizer

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    return GemmaTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=length)


def clip_text(width: int = 16, *, projected: bool = False, length: int = 8) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=length,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5_text(width: int = 16) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(d_model=width, d_ff=2 * width, d_kv=8, num_heads=2, num_layers=1, vocab_size=VOCABULARY)
    return T5EncoderModel(config).eval()


def umt5_text(width: int = 16) -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(d_model=width, d_ff=2 * width, d_kv=8, num_heads=2, num_layers=1, vocab_size=VOCABULARY)
    return UMT5EncoderModel(config).eval()


def gemma_text(width: int = 16) -> Any:
    from transformers import Gemma2Config, Gemma2Model

    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    return Gemma2Model(config).eval()


# --- autoencoders and schedulers -------------------------------------------------------------------------------------


def image_vae(channels: int = 4, **more: Any) -> Any:
    """Pixels at twice the side of the latents."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=channels,
        **more,
    ).eval()


def ddim(**more: Any) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **more,
    )


def euler_flow(**more: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**more)


def unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    settings: dict[str, Any] = dict(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=16,
    )
    return UNet2DConditionModel(**(settings | more)).eval()


# --- families --------------------------------------------------------------------------------------------------------


def sd15(*, prediction: str = "epsilon", scheduler: Any = None) -> Any:
    """Stable Diffusion 1.5: 4x8x8 latents of 16x16 pixels."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        scheduler=scheduler or ddim(prediction_type=prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(*, force_zeros: bool = True) -> Any:
    """Stable Diffusion XL: 4x8x8 latents of 16x16 pixels, two text encoders, pooled embeddings and time ids."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
    )
    network = unet(
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
    )
    return StableDiffusionXLPipeline(
        vae=image_vae(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=network,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    )


def sd3() -> Any:
    """Stable Diffusion 3: 4x8x8 latents of 16x16 pixels, two CLIPs and a T5."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    network = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=network.eval(),
        scheduler=euler_flow(shift=3.0),
        vae=image_vae(shift_factor=0.0609, scaling_factor=1.5305, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_text(32),
        tokenizer_3=t5_tokenizer(),
    )


def flux(*, guidance: bool = True) -> Any:
    """FLUX: 4x8x8 latents of 16x16 pixels, packed into 16 tokens inside; dev with a guidance embedding, or schnell."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=guidance,
        axes_dims_rope=(2, 2, 4),
    )
    pipeline = FluxPipeline(
        scheduler=euler_flow(shift=3.0, use_dynamic_shifting=guidance),
        vae=image_vae(shift_factor=0.1159, scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(),
        tokenizer_2=t5_tokenizer(),
        transformer=network.eval(),
    )
    return pipeline


def sana() -> Any:
    """SANA: 4x16x16 latents of 32x32 pixels, captions by Gemma 2 with an attention mask."""
    from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel

    network = SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=16,
    )
    vae = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma_text(),
        vae=vae.eval(),
        transformer=network.eval(),
        scheduler=euler_flow(shift=3.0),
    )


def dit(*, learned_sigma: bool = True) -> Any:
    """DiT: 4x8x8 latents of 16x16 pixels, a thousand classes."""
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    network = DiTTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8 if learned_sigma else 4,
        num_embeds_ada_norm=1000,
        attention_bias=True,
        activation_fn="gelu-approximate",
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
    )
    labels = {str(i): f"class {i}" for i in range(1000)}
    pipeline = DiTPipeline(
        transformer=network.eval(), vae=image_vae(), scheduler=DDIMScheduler(clip_sample=False), id2label=labels
    )
    pipeline.register_to_config(id2label=labels)  # as in the repository of the real one
    return pipeline


def wan(*, scheduler: Any = None) -> Any:
    """Wan: clips of 5 frames of 16x16 pixels are (2, 4, 8, 8) latents, frames first."""
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel

    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        latents_mean=[-0.7, 0.3, 0.1, -0.2],
        latents_std=[2.8, 1.4, 2.3, 1.1],
        scale_factor_temporal=4,
        scale_factor_spatial=4,
    )
    network = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=8,
        ffn_dim=16,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    return WanPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=umt5_text(),
        vae=vae.eval(),
        scheduler=scheduler or euler_flow(shift=5.0),
        transformer=network.eval(),
    )


def stable_audio() -> Any:
    """Stable Audio: (4, 16) latents of 64 samples in two channels, prompts of 8 tokens, durations up to 4 seconds."""
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )

    network = StableAudioDiTModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        cross_attention_dim=16,
        time_proj_dim=8,
        global_states_input_dim=32,
        cross_attention_input_dim=16,
    )
    vae = AutoencoderOobleck(
        encoder_hidden_size=8,  # means and scales
        downsampling_ratios=[2, 2],
        channel_multiples=[1, 2],
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=2,
        sampling_rate=16,
    )
    return StableAudioPipeline(
        vae=vae.eval(),
        text_encoder=t5_text(),
        projection_model=StableAudioProjectionModel(16, 16, 0, 4).eval(),
        tokenizer=t5_tokenizer(),
        transformer=network.eval(),
        scheduler=CosineDPMSolverMultistepScheduler(),
    )


BUILDERS: dict[str, Callable[..., Any]] = {
    "sd15": sd15,
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": flux,
    "sana": sana,
    "dit": dit,
    "wan": wan,
    "stable_audio": stable_audio,
}


def build(name: str, *, seed: int = 0, **options: Any) -> Any:
    """The pipeline of a family with random weights, every output layer included (some start at zero)."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        pipeline = BUILDERS[name](**options)
        network = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():  # zero output layers and biases would hide every mistake
                    parameter.normal_(std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def saved(name: str, folder: str | Path, *, seed: int = 0, **options: Any) -> str:
    """Save the pipeline of a family; returns the folder."""
    build(name, seed=seed, **options).save_pretrained(folder, safe_serialization=True)
    return str(folder)
