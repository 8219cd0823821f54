"""Class conditions of the closed-form models: one mean per class and, last, the unconditional one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Predictor, Space
from limbeck.process.gaussian import GaussianProcess


def event_of(mean: float | Tensor, otherwise: Sequence[int] = ()) -> tuple[int, ...]:
    """The event shape of the mean, or `otherwise` when it is a number; (1,) when both are."""
    return tuple(torch.as_tensor(mean).shape) or tuple(otherwise) or (1,)


class Conditional(Predictor):
    """Holds `means`, (K + 1, *event): row k for class k, row K for "no condition"."""

    def __init__(self, process: GaussianProcess, space: Space, mean: float | Tensor, class_means: Tensor | None):
        super().__init__()
        self.process, self.space = process, space
        means = torch.as_tensor(mean, dtype=torch.float64).detach().expand(space.event)[None].clone()
        if class_means is not None:
            means = torch.cat(
                [torch.as_tensor(class_means, dtype=torch.float64).detach().reshape(-1, *space.event), means]
            )
        self.means = nn.Parameter(means)

    @property
    def classes(self) -> int:
        return len(self.means) - 1

    @property
    def mean(self) -> Tensor:
        """The unconditional mean, (*event)."""
        return self.means[-1]

    def _class_means(self) -> Tensor | None:
        return self.means[:-1].detach().clone() if self.classes else None

    def mean_of(self, cond: Any, like: Tensor) -> Tensor:
        """Means of conditions cond (B,) in the precision of `like`, (B, *event); (1, *event) for None."""
        if cond is None:
            return self.means[-1:].to(like)
        if not self.classes:
            raise ValueError(
                f"{type(self).__name__} was built without class_means and takes no condition; got {cond!r:.60}"
            )
        return self.means[cond].to(like)

    def null(self, cond: Any) -> Any:
        if not self.classes or cond is None:
            return super().null(cond)
        return torch.full_like(cond, self.classes)
