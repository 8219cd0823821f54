"""The digits classifier whose features are the space that image metrics measure in.

A small convolutional network. Its 64 features have two tasks: to name the digit, and to hold the scan
itself (one linear layer reconstructs the pixels from them). Features of a mere classifier forget slant, thickness and
position, and a distance between them does not see a generator that lost variety; these do. For the same reason they are
whitened (with shrinkage): left alone, the nine directions that separate classes hold 95 % of the variance, and a
distance would mostly compare how often each class was drawn.
"""

from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor, nn

FEATURES = 64


class Classifier(nn.Module):
    """(B, 1, 8, 8) in [-1, 1] -> `features` (B, 64), whitened; `forward` returns logits (B, 10)."""

    centre: Tensor
    whiten: Tensor

    def __init__(self, width: int = 32, dropout: float = 0.2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(width, 2 * width, 2, stride=2), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 2, stride=2), nn.SiLU(),
            nn.Flatten(),
        )  # fmt: skip
        self.to_features = nn.Sequential(nn.Linear(8 * width, FEATURES), nn.SiLU(), nn.Linear(FEATURES, FEATURES))
        self.to_logits = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Linear(FEATURES, 10))
        self.to_pixels = nn.Linear(FEATURES, 64)  # used in training only
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("whiten", torch.eye(FEATURES))

    def raw(self, images: Tensor) -> Tensor:
        return self.to_features(self.body(images))  # (B, 64)

    def measured(self, raw: Tensor) -> Tensor:
        """The space metrics measure in: (raw - centre) whiten, (B, 64)."""
        return (raw - self.centre) @ self.whiten

    def features(self, images: Tensor) -> Tensor:
        return self.measured(self.raw(images))  # (B, 64)

    def forward(self, images: Tensor) -> Tensor:
        return self.to_logits(self.raw(images))  # (B, 10)


@lru_cache(maxsize=1)
def bundled() -> Classifier:
    """The shipped classifier, frozen."""
    from limbeck.export.teacher_files import read

    state, _ = read(str(resources.files("limbeck_image") / "assets" / "digits_classifier.safetensors"))
    network = Classifier()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def describe(images: Tensor, batch: int = 1000) -> tuple[Tensor, Tensor]:
    """Features (N, 64) float32 and predicted labels (N,) by the bundled classifier, on the CPU."""
    network = bundled()
    features, labels = [], []
    for chunk in images.detach().float().cpu().split(batch):
        raw = network.raw(chunk)
        features.append(network.measured(raw))
        labels.append(network.to_logits(raw).argmax(dim=1))
    return torch.cat(features), torch.cat(labels)
