"""How training pictures of the video networks are changed at random, and how clips are corrupted.

Letters: N frames or clips, F frames.
"""

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.randomness import Rng
from limbeck_diffusion.augment import affine
from limbeck_video.features.clip_encoder import CORRUPTIONS


def deform(ink: Tensor, rng: Rng) -> Tensor:
    """Small random affine maps of scans (N, 8, 8): rotation, shear to 8 degrees, scale to 8 %, brightness to 15 %."""
    draw = 2 * rng.uniform("affine", (len(ink), 4)) - 1
    moved = affine(ink[:, None], draw[:, :3])[:, 0]
    return (moved * (1 + 0.15 * draw[:, 3])[:, None, None]).clamp(0, 1)


def degrade(frames: Tensor, rng: Rng) -> Tensor:
    """A quarter of the pictures (N, C, H, W) blurred, all with a little noise: generated ones are soft and grainy."""
    rows = len(frames)
    blurred = functional.avg_pool2d(functional.pad(frames, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    share = (
        (rng.uniform("blur", (rows, 1, 1, 1)) - 0.5).clamp_min(0) * 2 * (rng.uniform("blurred", (rows, 1, 1, 1)) < 0.5)
    )
    out = torch.lerp(frames, blurred, 0.6 * share)
    return out + 0.08 * rng.uniform("level", (rows, 1, 1, 1)) * rng.normal("grain", frames.shape)


# --- corruption ------------------------------------------------------------------------------------------------------


def corrupt_pictures(clips: Tensor, slow: Tensor, kinds: Tensor, rng: Rng) -> Tensor:
    """Clips (N, F, 1, 20, 20), those of kind jitter, fading and slow changed so.

    kinds: indices into `CORRUPTIONS`, (N,). slow: the same clips at a third of the speed.
    """
    rows, frames = clips.shape[:2]
    shift = rng.integers("shift", 3, (rows, frames, 2)) - 1
    side = torch.arange(clips.shape[-1])
    y, x = ((side - shift[..., axis, None]) % clips.shape[-1] for axis in (0, 1))  # (N, F, 20)
    row, time = torch.arange(rows)[:, None, None, None], torch.arange(frames)[None, :, None, None]
    jittered = clips[:, :, 0][row, time, y[..., :, None], x[..., None, :]][:, :, None]
    fade = torch.linspace(0, 1, frames)[None] * (0.4 + 0.5 * rng.uniform("fade", (rows, 1)))
    faded = (clips + 1) * (1 - fade[:, :, None, None, None]) - 1
    for name, changed in (("jitter", jittered), ("fading", faded), ("slow", slow)):
        clips = torch.where((kinds == CORRUPTIONS.index(name))[:, None, None, None, None], changed, clips)
    return clips


def corrupt_order(features: Tensor, mates: Tensor, kinds: Tensor, rng: Rng) -> Tensor:
    """Features of frames (N, F, 64), those of kind shuffled, frozen (from some frame on) and jump (to another
    clip, of `mates`) changed so."""
    rows, frames = features.shape[:2]
    order = rng.uniform("order", (rows, frames)).argsort(dim=1)
    still = torch.arange(frames)[None].minimum(1 + rng.integers("still", frames // 2, (rows, 1)))
    later = torch.arange(frames)[None] >= 2 + rng.integers("cut", frames - 4, (rows, 1))

    def taken(index: Tensor) -> Tensor:
        return features.gather(1, index[..., None].expand_as(features))

    changes = (
        ("shuffled", taken(order)),
        ("frozen", taken(still)),
        ("jump", torch.where(later[..., None], mates, features)),
    )
    for name, changed in changes:
        features = torch.where((kinds == CORRUPTIONS.index(name))[:, None, None], changed, features)
    return features


__all__ = ["corrupt_order", "corrupt_pictures", "deform", "degrade"]
