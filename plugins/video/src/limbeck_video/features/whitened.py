"""The space that video metrics measure in: features whitened with shrinkage, so that no few directions hold nearly all
of the variance."""

from importlib import resources
from typing import TypeVar

import torch
from torch import Tensor, nn

from limbeck.evaluation.frechet import whitening
from limbeck.export.teacher_files import read

FEATURES = 64


class Whitened(nn.Module):
    """A network with raw features (N, 64) and a linear map to the space that metrics measure in."""

    centre: Tensor
    whiten: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(FEATURES))
        self.register_buffer("whiten", torch.eye(FEATURES))

    def whiten_by(self, raw: Tensor, shrinkage: float = 0.01) -> None:
        """Take centre and matrix from raw features (N, 64) of real data."""
        centre, matrix = whitening(raw, shrinkage)
        self.centre.copy_(centre)
        self.whiten.copy_(matrix)

    def whitened(self, raw: Tensor) -> Tensor:
        """(raw - centre) whiten, (N, 64)."""
        return (raw - self.centre) @ self.whiten


N = TypeVar("N", bound=nn.Module)


def bundled(name: str, network: N) -> N:
    """A network with the weights of a bundled file, frozen."""
    state, _ = read(str(resources.files("limbeck_video") / "assets" / name))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


__all__ = ["FEATURES", "Whitened", "bundled"]
