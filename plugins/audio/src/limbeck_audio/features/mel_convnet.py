"""The digit classifier whose features are the space that metrics of sound measure in.

A small convolutional network over log-mels. Its 64 features have two tasks: to name the digit, and to
hold the sound (one linear layer gives back the spectrogram at a quarter of its resolution). Features of a mere
classifier forget voice, speed and loudness, and a distance between them does not see a generator that lost its voices;
these do. For the same reason they are whitened, with shrinkage.
"""

from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 64
COARSE = 16  # mels and frames of what the features hold
BUNDLED = "spoken_digits_classifier.safetensors"


class Classifier(nn.Module):
    """(B, 1, 64, 64) log-mel -> `features` (B, 64), whitened; `forward` returns logits (B, classes)."""

    centre: Tensor
    whiten: Tensor

    def __init__(self, classes: int = 10, width: int = 16, dropout: float = 0.2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.GroupNorm(4, 2 * width), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.GroupNorm(4, 4 * width), nn.SiLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(4 * width, 4 * width, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.to_features = nn.Sequential(nn.Linear(64 * width, FEATURES), nn.SiLU(), nn.Linear(FEATURES, FEATURES))
        self.to_logits = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Linear(FEATURES, classes))
        self.to_coarse = nn.Linear(FEATURES, COARSE * COARSE)  # used in training only
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("whiten", torch.eye(FEATURES))

    def raw(self, mels: Tensor) -> Tensor:
        return self.to_features(self.body(mels))  # (B, 64)

    def measured(self, raw: Tensor) -> Tensor:
        """The space metrics measure in: (raw - centre) whiten, (B, 64)."""
        return (raw - self.centre) @ self.whiten

    def features(self, mels: Tensor) -> Tensor:
        return self.measured(self.raw(mels))  # (B, 64)

    def forward(self, mels: Tensor) -> Tensor:
        return self.to_logits(self.raw(mels))  # (B, classes)


def coarse(mels: Tensor) -> Tensor:
    """Log-mels (B, 1, 64, 64) averaged over squares of 4 by 4, (B, 256)."""
    return functional.avg_pool2d(mels, mels.shape[-1] // COARSE).flatten(1)


@lru_cache(maxsize=1)
def bundled() -> Classifier:
    """The shipped classifier, frozen."""
    from limbeck.export.teacher_files import read

    state, _ = read(str(resources.files("limbeck_audio") / "assets" / BUNDLED))
    network = Classifier()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def describe(mels: Tensor, batch: int = 500) -> tuple[Tensor, Tensor]:
    """Features (N, 64) float32 and predicted digits (N,) by the bundled classifier, on the CPU."""
    network = bundled()
    features, labels = [], []
    for chunk in mels.detach().float().cpu().split(batch):
        raw = network.raw(chunk)
        features.append(network.measured(raw))
        labels.append(network.to_logits(raw).argmax(dim=1))
    return torch.cat(features), torch.cat(labels)
