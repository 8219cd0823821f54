"""The encoder of clips: features of motion, from what the frame detector finds in twelve frames.

`ClipEncoder` was trained by `train_clip_encoder` to predict where things are in the first, the middle and the last
frame, how fast they start, which digits they are, and whether the motion was corrupted, and in what way.

Letters: N clips, F frames, D = 2 digits.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn

from limbeck_video.data.moving_digits import CLASSES, DIGITS
from limbeck_video.features.frame_detector import detect
from limbeck_video.features.whitened import FEATURES, Whitened, bundled

WINDOW = 12  # frames of an encoded clip
CORRUPTIONS = ("untouched", "shuffled", "frozen", "jump", "jitter", "fading", "slow")
MOMENTS = (0, WINDOW // 2, WINDOW - 1)  # frames whose positions it was trained to predict


class ClipEncoder(Whitened):
    """Features of a clip, raw (N, 64), from the whitened features of twelve frames, (N, 12, 64). The heads are for
    training."""

    def __init__(self, width: int = 96):
        super().__init__()
        self.in_time = nn.Sequential(
            nn.Conv1d(FEATURES, width, 3, padding=1), nn.SiLU(), nn.Conv1d(width, width, 3, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(width * WINDOW, 128), nn.SiLU(), nn.Linear(128, FEATURES),
        )  # fmt: skip
        outputs = {
            "places": len(MOMENTS) * DIGITS * 2,
            "velocity": DIGITS * 2,
            "counts": CLASSES * (DIGITS + 1),
            "corrupted": len(CORRUPTIONS),
        }
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(FEATURES, 128), nn.SiLU(), nn.Linear(128, count))
                for name, count in outputs.items()
            }
        )

    def forward(self, frames: Tensor) -> Tensor:
        return self.in_time(frames.mT)  # (N, 64)


@lru_cache(maxsize=1)
def clip_encoder() -> ClipEncoder:
    """The bundled one, frozen."""
    return bundled("clip_encoder.safetensors", ClipEncoder())


@torch.no_grad()
def clip_features(clips: Tensor) -> Tensor:
    """Whitened features of every window of 12 frames of clips (N, F, C, H, W), in turn: (N, F // 12, 64)."""
    network, frames = clip_encoder(), windows(detect(clips).features)
    return network.whitened(network(frames.flatten(0, 1))).view(*frames.shape[:2], FEATURES)


def windows(clips: Tensor, length: int = WINDOW) -> Tensor:
    """Clips (N, F, ...) cut into windows, (N, F // length, length, ...); what is left at the end is dropped."""
    if clips.shape[1] < length:
        raise ValueError(
            f"clips of {clips.shape[1]} frames are too short: motion is encoded in windows of {length}. "
            f"Measure clips of {length} frames or more, or leave this metric out."
        )
    count = clips.shape[1] // length
    return clips[:, : count * length].unflatten(1, (count, length))


__all__ = ["CORRUPTIONS", "MOMENTS", "WINDOW", "ClipEncoder", "clip_encoder", "clip_features", "windows"]
