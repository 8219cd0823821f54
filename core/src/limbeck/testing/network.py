"""A small network with everything that objectives may need of one: conditions, a second time, hidden features."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class TinyNetwork(nn.Module):
    """An MLP on the flattened event; wrap it: `Denoiser(TinyNetwork((2,), classes=4), process, space, null=4)`.

    Smooth everywhere (SiLU), so that forward-mode derivatives work. Class `classes` is the null condition.

    Args:
        event: shape of one event.
        classes: number of classes; 0 takes no condition.
        two_times: accept s, the second time of a flow map.
    """

    def __init__(
        self, event: Sequence[int], *, width: int = 64, depth: int = 3, classes: int = 0, two_times: bool = False
    ):
        super().__init__()
        self.event, self.two_times = tuple(event), two_times
        size, clocks = math.prod(self.event), 2 if two_times else 1
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        self.enter = nn.Linear(size + 8 * clocks, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
        self.leave = nn.Linear(width, size)

    def _clock(self, time: Tensor, x: Tensor) -> Tensor:
        """cos and sin of pi time 2^k / 2, k = 0..3, (B, 8)."""
        phase = time.to(x.dtype)[:, None] * (0.5 * math.pi) * 2.0 ** torch.arange(4, dtype=x.dtype, device=x.device)
        return torch.cat([torch.cos(phase), torch.sin(phase)], 1)

    def forward(
        self, x: Tensor, time: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        clocks = [self._clock(time, x)]
        if self.two_times:
            clocks.append(self._clock(torch.zeros_like(time) if s is None else s, x))
        h = self.enter(torch.cat([x.flatten(1), *clocks], 1))
        if self.labels is not None and cond is not None:
            h = h + self.labels(cond)
        hidden = [nn.functional.silu(h)]
        for layer in self.layers:
            hidden.append(hidden[-1] + nn.functional.silu(layer(hidden[-1])))
        out = self.leave(hidden[-1]).reshape(x.shape)
        return (out, tuple(hidden[k] for k in features)) if features else out
