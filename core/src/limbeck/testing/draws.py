"""Draws that a test chooses: fixed values by name, and Gauss-Hermite nodes that turn a batch into an exact
expectation."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from limbeck.randomness import Rng


class FixedDraws(Rng):
    """An `Rng` whose named draws are given: `FixedDraws({"noise": z, "eps": eps, "t": u})`.

    A value stands for the draw of the whole global batch, whatever its distribution (normal, uniform or integers), and
    comes back in the precision it was given in, so that a float64 value keeps an oracle in float64. `part` of `parts`
    is cut out of it as `Rng` does. A name that was not given is an error, or is drawn by `otherwise`. `used` collects
    the names drawn.
    """

    def __init__(
        self, values: Mapping[str, Tensor | int], *, part: int = 0, parts: int = 1, otherwise: Rng | None = None
    ):
        super().__init__(0, part=part, parts=parts)
        self.values, self.otherwise = dict(values), otherwise
        self.used: set[str] = set()

    def _given(self, purpose: str, shape: Sequence[int]) -> Tensor | None:
        self.used.add(purpose)
        if purpose not in self.values:
            if self.otherwise is not None:
                return None
            known = ", ".join(repr(name) for name in sorted(self.values)) or "none"
            raise KeyError(
                f"a draw named {purpose!r} of shape {tuple(shape)} was drawn; FixedDraws was given: {known}. "
                "Give it, or pass otherwise=limbeck.rng(0) to draw the rest."
            )
        value = torch.as_tensor(self.values[purpose])
        rows, *event = shape
        if value.shape != (rows * self.parts, *event):
            raise ValueError(
                f"the draw {purpose!r} was given with shape {tuple(value.shape)}; "
                f"the code under test drew {(rows * self.parts, *event)}"
            )
        return value[self.part * rows : (self.part + 1) * rows]

    def generator(self, purpose: str) -> torch.Generator:
        if self.otherwise is not None:
            return self.otherwise.generator(purpose)
        raise KeyError(
            f"a generator for {purpose!r} was taken; FixedDraws gives values. Pass otherwise=limbeck.rng(0)."
        )

    def normal(self, purpose: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        value = self._given(purpose, shape)
        return self._fallback().normal(purpose, shape, dtype) if value is None else value

    def uniform(self, purpose: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        value = self._given(purpose, shape)
        return self._fallback().uniform(purpose, shape, dtype) if value is None else value

    def integers(self, purpose: str, high: int, shape: Sequence[int]) -> Tensor:
        value = self._given(purpose, shape)
        if value is None:
            return self._fallback().integers(purpose, high, shape)
        if value.is_floating_point() or bool((value < 0).any()) or bool((value >= high).any()):
            raise ValueError(
                f"the draw {purpose!r} must be integers in [0, {high}); got {value.dtype}, {value.tolist()}"
            )
        return value

    def shared_integer(self, purpose: str, high: int) -> int:
        if high == 1:
            return 0
        self.used.add(purpose)
        if purpose in self.values:
            value = int(self.values[purpose])
            if not 0 <= value < high:
                raise ValueError(f"the draw {purpose!r} must be an integer in [0, {high}); got {value}")
            return value
        if self.otherwise is not None:
            return self.otherwise.shared_integer(purpose, high)
        raise KeyError(
            f"an integer named {purpose!r} below {high} was drawn; FixedDraws was given {sorted(self.values)}"
        )

    def _fallback(self) -> Rng:
        assert self.otherwise is not None
        return self.otherwise


def gauss_hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E[f(z)] = sum_i w_i f(z_i), z ~ N(0, 1), exact for polynomials of degree 2 nodes - 1.

    Golub & Welsch 1969: eigenvalues of the Jacobi matrix with off-diagonal sqrt(k). Both (nodes,), float64.
    """
    off = torch.arange(1, nodes, dtype=torch.float64).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    weights = vectors[0].square()
    # the distribution is symmetric; make the numbers so
    return (values - values.flip(0)) / 2, (weights + weights.flip(0)) / (2 * weights.sum())


def gauss_hermite_batch(n_nodes: int, dims: int = 1) -> tuple[Tensor, Tensor]:
    """Product rule for z ~ N(0, I) in `dims` dimensions: a batch whose weighted mean is the expectation.

    Use the columns as `FixedDraws` and `Batch(weight=w)` as the batch; with 64 nodes, smooth integrands are exact to
    1e-12.

    Returns:
        nodes (n_nodes**dims, dims) and weights (n_nodes**dims,) that sum to one, float64.
    """
    z, w = gauss_hermite(n_nodes)
    nodes = torch.cartesian_prod(*[z] * dims).reshape(-1, dims)
    weights = torch.cartesian_prod(*[w] * dims).reshape(-1, dims).prod(1)
    return nodes, weights / weights.sum()
