"""Clips of any length from a sampler that streams."""

from typing import Any

import torch
from torch import Tensor

from limbeck import conditions
from limbeck.interfaces import unwrap
from limbeck.randomness import Rng
from limbeck.sampling.samples import device_of


def streams(sampler: Any) -> bool:
    """Does a sampler yield frames as they come?"""
    return hasattr(sampler, "stream")


@torch.no_grad()
def long_rollout(
    model: Any, sampler: Any, cond: Any, *, frames: int, steps: int, seed: int = 0, rows: int | None = None
) -> Tensor:
    """Clips (N, F, *event of a frame) from a streaming sampler, on the CPU; stopped where there are enough frames."""
    network = unwrap(model)
    device = device_of(network)
    rng, chunks, count = Rng(seed, phase="rollout", device=device), [], 0
    stream = sampler.stream(network, conditions.to(cond, device), steps=steps, rng=rng, batch_size=rows)
    try:
        for chunk in stream:
            chunks.append(chunk.cpu())
            count += chunk.shape[1]
            if count >= frames:
                break
    finally:
        stream.close()
    return torch.cat(chunks, dim=1)[:, :frames]


__all__ = ["long_rollout", "streams"]
