"""How large samples are: from what is wanted, and what a pipeline can make, to the event of its latents."""

import inspect
from typing import Any

from limbeck.errors import LimbeckError
from limbeck_diffusion.pipelines.families import Family
from limbeck_diffusion.pipelines.layouts import PATCHES, Size


def _scale(pipeline: Any) -> int:
    """Pixels per position of the latents."""
    factor = getattr(pipeline, "vae_scale_factor_spatial", None) or getattr(pipeline, "vae_scale_factor", None)
    return int(factor or 2 ** (len(pipeline.vae.config.block_out_channels) - 1))


def resolve_size(
    pipeline: Any, family: Family, height: int | None, width: int | None, frames: int | None, seconds: float | None
) -> tuple[Size, tuple[int, ...]]:
    """The size wanted (the family's usual one where none is) and the event of its latents.

    Raises:
        LimbeckError: a size that the autoencoder or the network cannot have, with the nearest one that works.
    """
    config = getattr(pipeline, family.network).config
    channels = int(config.in_channels)
    if family.modality == "audio":
        rate, length = pipeline.vae.config.sampling_rate, int(config.sample_size)
        longest = length * pipeline.vae.hop_length / rate
        if seconds is not None and not 0 < seconds <= longest:
            raise LimbeckError(
                f"seconds must lie between 0 and {longest:.4g}, the longest this model makes; got {seconds}"
            )
        return Size(seconds=longest if seconds is None else seconds), (channels, length)
    scale = _scale(pipeline)
    usual = family.latent_side or config.get("sample_size")
    if family.modality == "video":
        defaults = inspect.signature(type(pipeline).__call__).parameters
        sides = (height or defaults["height"].default, width or defaults["width"].default)
        frames = frames or defaults["num_frames"].default
    else:
        rows, columns = usual if isinstance(usual, list | tuple) else (usual, usual)
        sides = (height or rows * scale, width or columns * scale)
    patch = config.get("patch_size") or 1
    patch = patch[-1] if isinstance(patch, list | tuple) else patch
    unit = scale * (2 if family.layout is PATCHES else int(patch))
    for name, side in zip(("height", "width"), sides, strict=True):
        if side % unit:
            near = max(unit, round(side / unit) * unit)
            raise LimbeckError(f"{name} must be a multiple of {unit} for this {family.title}; got {side}. Try {near}")
    if family.null == "label" and sides != (usual * scale, usual * scale):
        raise LimbeckError(
            f"this {family.title} makes images of {usual * scale}x{usual * scale} pixels only; got "
            f"{sides[0]}x{sides[1]}. Leave height and width out"
        )
    h, w = sides[0] // scale, sides[1] // scale
    if family.modality == "video":
        assert frames is not None
        step = int(pipeline.vae_scale_factor_temporal)
        if frames < 1 or (frames - 1) % step:
            near = max(0, round((frames - 1) / step)) * step + 1
            raise LimbeckError(
                f"frames must be 1 more than a multiple of {step} for this {family.title}; got {frames}. Try {near}"
            )
        return Size(sides[0], sides[1], frames), ((frames - 1) // step + 1, channels, h, w)
    if family.layout is PATCHES:
        channels //= 4
    return Size(*sides), (channels, h, w)


def tokens_of(pipeline: Any, family: Family, event: tuple[int, ...]) -> int:
    """Positions of one sample in the network: what a dynamic time shift depends on."""
    if family.layout is PATCHES:
        return event[-2] // 2 * (event[-1] // 2)
    patch = getattr(pipeline, family.network).config.get("patch_size") or 1
    patch = patch[-1] if isinstance(patch, list | tuple) else int(patch)
    return max(1, event[-2] // patch) * max(1, event[-1] // patch)
