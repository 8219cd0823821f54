"""Small functions that the table of families names: layouts of latents, and conditions that are not text.

Letters: B batch, C channels, F frames, h w height and width of the latents, N tokens, L length, D width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Size:
    """What is to be made: pixels, frames of video, seconds of sound. Fields a modality lacks are None."""

    height: int | None = None
    width: int | None = None
    frames: int | None = None
    seconds: float | None = None


# --- layouts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How latents become the network's input, and its output latents again: `back(output, shape of the latents)`."""

    name: str
    to: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, torch.Size], Tensor]


def pack(latents: Tensor) -> Tensor:
    """2x2 patches as tokens, (B, C, h, w) -> (B, hw/4, 4C); the channels of a token run over (C, row, column)."""
    b, c, h, w = latents.shape
    patches = latents.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(b, (h // 2) * (w // 2), 4 * c)


def unpack(tokens: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `pack`."""
    b, c, h, w = shape
    patches = tokens.reshape(b, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(b, c, h, w)


PLAIN = Layout("plain", lambda x: x, lambda x, shape: x)
PATCHES = Layout("patches", pack, unpack)
CHANNELS_FIRST = Layout("channels_first", lambda x: x.transpose(1, 2), lambda x, shape: x.transpose(1, 2))


# --- arguments that follow from shapes -------------------------------------------------------------------------------


def flux_ids(network: Any, latents: Tensor, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Positions of the tokens: zeros for text, (0, row, column) for every patch of the image; float, (N, 3)."""
    h, w = latents.shape[-2] // 2, latents.shape[-1] // 2
    like: dict[str, Any] = {"device": latents.device, "dtype": latents.dtype}
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    image = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
    return {"txt_ids": torch.zeros(conditions["prompt"].shape[1], 3, **like), "img_ids": image.to(**like)}


def audio_rotary(network: Any, latents: Tensor, conditions: Mapping[str, Tensor]) -> dict[str, Any]:
    """Rotary embedding of the latents and of the duration tokens put before them: (cos, sin), (L, D/2) each."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    length = latents.shape[-1] + conditions["seconds"].shape[1]
    width = network.config.attention_head_dim // 2
    cos, sin = get_1d_rotary_pos_embed(width, length, use_real=True, repeat_interleave_real=False)
    return {"rotary_embedding": (cos.to(latents.device), sin.to(latents.device))}


# --- conditions that are not text ------------------------------------------------------------------------------------


def sdxl_time_ids(pipeline: Any, conditions: dict[str, Tensor], size: Size) -> dict[str, Tensor]:
    """`time_ids` (B, 6), pixels: original size, corner of the crop, target size; those of an uncropped image."""
    prompt = conditions["prompt"]
    ids = prompt.new_tensor([[size.height, size.width, 0, 0, size.height, size.width]])
    return conditions | {"time_ids": ids.expand(len(prompt), -1).clone()}


def audio_seconds(pipeline: Any, conditions: dict[str, Tensor], size: Size) -> dict[str, Tensor]:
    """The tokens of start and end (in seconds) behind those of the prompt; both again as `seconds` (B, 1, 2D)."""
    prompt = conditions["prompt"]
    count = len(prompt)
    start, end = pipeline.encode_duration(0.0, float(size.seconds or 0.0), prompt.device, False, count)
    return {
        "prompt": torch.cat([prompt, start.to(prompt), end.to(prompt)], dim=1),
        "seconds": torch.cat([start, end], dim=2).to(prompt),
    }


def guidance_vector(scale: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of a guidance scale, (B,) -> (B, width), Meng et al. 2023 as diffusers' U-Nets expect it:
    frequencies 10000^(-k / (width/2 - 1)) of 1000 (scale - 1), sines then cosines."""
    half = width // 2
    frequency = torch.exp(-torch.log(torch.tensor(10000.0)) / (half - 1) * torch.arange(half)).to(scale)
    angle = 1000 * (scale - 1)[:, None] * frequency
    out = torch.cat([angle.sin(), angle.cos()], dim=1)
    return torch.nn.functional.pad(out, (0, width - out.shape[1]))
