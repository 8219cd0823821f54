"""The last layer of a language model, for losses that never hold the logits of a whole batch.

Letters: N tokens, H hidden width, V true vocabulary (never the rows that pad a weight matrix).
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Head:
    """logits = cap(scale * (hidden @ weight.T + bias)), with cap(z) = soft_cap * tanh(z / soft_cap).

    weight: (V, H), a parameter or a view of one, so that gradients reach the model (tied embeddings included).
    bias: (V,) or None. soft_cap: Gemma 2's final soft-capping, or None. scale: Cohere's logit scale.
    """

    weight: Tensor
    bias: Tensor | None = None
    soft_cap: float | None = None
    scale: float = 1.0

    @property
    def vocab(self) -> int:
        return self.weight.shape[0]

    def project(self, hidden: Tensor) -> Tensor:
        """The linear part, (..., H) -> (..., V)."""
        projected = hidden @ self.weight.T
        return projected if self.bias is None else projected + self.bias

    def shape(self, projected: Tensor) -> Tensor:
        """What follows it, element by element, (..., V)."""
        scaled = projected if self.scale == 1 else projected * self.scale
        return scaled if self.soft_cap is None else (scaled / self.soft_cap).tanh() * self.soft_cap

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., H) -> (..., V)."""
        return self.shape(self.project(hidden))

    def detach(self) -> Self:
        """The same head, through which no gradient flows."""
        bias = None if self.bias is None else self.bias.detach()
        return type(self)(weight=self.weight.detach(), bias=bias, soft_cap=self.soft_cap, scale=self.scale)


__all__ = ["Head"]
