"""Clips as metrics look at them: decoded, evenly spaced among the rows of a data set, thinned out. Letters: N clips,
F frames."""

import torch
from torch import Tensor

from limbeck.interfaces import Codec, Data
from limbeck_video.physics.bouncing import SIDE


@torch.no_grad()
def decoded(samples: Tensor, data: Data) -> Tensor:
    """Samples of the space that `data` lives in as clips: decoded, a few at a time, where there is a codec."""
    codec = data.space.codec
    if type(codec) is Codec:
        return samples
    return torch.cat([codec.decode(part).cpu() for part in samples.split(8)])


def evenly_spaced(data: Data, count: int) -> Tensor:
    """At most `count` clips of a split, evenly spaced among its rows, decoded."""
    rows = torch.linspace(0, len(data) - 1, min(len(data), count)).long()
    return decoded(torch.cat([data.batch(part).x0 for part in rows.split(250)]), data)  # type: ignore[misc]


def thinned(clips: Tensor) -> Tensor:
    """A third of the frames, others of every clip: neighbours are nearly alike, and encoding takes time. Clips of
    fewer than three frames stay whole."""
    if clips.shape[1] < 3:
        return clips
    return torch.stack([clip[k % 3 :: 3][: clips.shape[1] // 3] for k, clip in enumerate(clips)])


def digit_clips(samples: Tensor, reference: Data, metric: str) -> Tensor:
    """Decoded clips of moving digits. Raises ValueError for any others, in which no digits can be detected."""
    clips = decoded(samples, reference)
    if clips.ndim != 5 or clips.shape[2:] != (1, SIDE, SIDE):
        raise ValueError(
            f"{metric} detects digits in grey clips of {SIDE}x{SIDE} pixels, (N, F, 1, {SIDE}, {SIDE}); got "
            f"{tuple(clips.shape)}. Leave it out of evaluate.metrics for other clips"
        )
    return clips


__all__ = ["decoded", "digit_clips", "evenly_spaced", "thinned"]
