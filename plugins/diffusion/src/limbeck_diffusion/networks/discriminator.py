"""A discriminator head on hidden features of any network, whatever the modality."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FeatureHead(nn.Module):
    """One logit per sample from feature maps (B, C_i, *locations_i).

    Every map is normalised over its channels, passed location by location through a two-layer perceptron and averaged;
    the logits of all maps are averaged. No assumption on the number of location axes: images, clips and sound alike.
    """

    def __init__(self, channels: Sequence[int], width: int = 64):
        super().__init__()
        if not channels:
            raise ValueError("a discriminator needs at least one feature map; the network returned none")
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(c), nn.Linear(c, width), nn.SiLU(), nn.Linear(width, 1)) for c in channels
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        logits = [
            branch(maps.reshape(*maps.shape[:2], -1).transpose(1, 2)).mean(dim=(1, 2))  # (B,); a vector is one location
            for branch, maps in zip(self.branches, features, strict=True)
        ]
        return torch.stack(logits).mean(0)
