"""Moving averages of networks that objectives keep for themselves: targets and teachers that follow the student."""

import torch
from torch import nn

from limbeck.networks.sharding import unsharded


@torch.no_grad()
def follow(average: nn.Module, online: nn.Module, decay: float) -> None:
    """One update: parameters move to decay * average + (1 - decay) * online, buffers are copied; the average moves to
    the online network's device. A parameter that both share (the base below adapters) is left alone."""
    with unsharded(online):
        source = dict(online.named_parameters()) | dict(online.named_buffers())
        first = next(iter(source.values()), None)
        if first is not None:
            average.to(first.device)
        for name, buffer in average.named_buffers():
            buffer.copy_(source[name])
        for name, parameter in average.named_parameters():
            if parameter is not source[name]:
                parameter.lerp_(source[name].to(parameter.dtype), 1 - decay)


__all__ = ["follow"]
