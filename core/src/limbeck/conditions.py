"""Conditions of a batch: a tensor, a list, or several named tensors; and the few things everyone does with them.

`cond` is one of: None; a tensor (B, ...); a list of B values (captions); `Conditions`, named tensors of B rows each
(a caption's tokens and the camera it is seen from; prompt embeddings and pooled ones).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class Conditions(Mapping[str, Tensor]):
    """Named tensors with equal first axes. `len` is the number of rows, B; `c["text"]` a tensor, `c[2:4]` rows."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None, **more: Tensor):
        self._tensors: dict[str, Tensor] = {**(tensors or {}), **more}
        rows = {name: tensor.shape[0] for name, tensor in self._tensors.items()}
        if not rows or len(set(rows.values())) != 1:
            raise ValueError(f"conditions are one or more tensors of equally many rows; got rows {rows}")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                return self._tensors[key]
            except KeyError:
                raise KeyError(f"no condition {key!r}; there are {', '.join(self._tensors)}") from None
        return Conditions({name: tensor[key] for name, tensor in self._tensors.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return next(iter(self._tensors.values())).shape[0]

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Conditions)
            and self._tensors.keys() == other._tensors.keys()
            and all(torch.equal(tensor, other._tensors[name]) for name, tensor in self._tensors.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def to(self, *where: Any) -> "Conditions":
        return Conditions({name: tensor.to(*where) for name, tensor in self._tensors.items()})

    def but(self, **changed: Tensor) -> "Conditions":
        """The same with some tensors replaced or added."""
        return Conditions({**self._tensors, **changed})

    def __repr__(self) -> str:
        return f"Conditions({', '.join(f'{name}={tuple(t.shape)}' for name, t in self._tensors.items())})"


def to(cond: Any, device: torch.device | str) -> Any:
    """The same conditions on a device."""
    return cond.to(device) if isinstance(cond, Tensor | Conditions) else cond


def cat(*conds: Any) -> Any:
    """Conditions below each other; all None, or all of one kind."""
    first = conds[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(conds)
    if isinstance(first, Conditions):
        return Conditions({name: torch.cat([cond[name] for cond in conds]) for name in first})
    return [value for cond in conds for value in cond]


def count(cond: Any, batch_size: int | None = None, noise: Tensor | None = None) -> int:
    """How many samples are to be made, B: `batch_size`, or as many as there are rows of noise or conditions."""
    if batch_size is not None:
        return batch_size
    if noise is None and cond is None:
        raise ValueError("how many samples? An unconditional model needs batch_size= or noise=, others have cond")
    return len(cond if noise is None else noise)


def rows(cond: Any, index: slice | Tensor) -> Any:
    """Some rows: a slice, or integers (n,)."""
    if cond is None:
        return None
    if isinstance(cond, Tensor | Conditions) or isinstance(index, slice):
        return cond[index]
    return [cond[i] for i in index.tolist()]


def where(chosen: Tensor, cond: Any, other: Any) -> Any:
    """Row by row: of `cond` where `chosen` (B,) is true, else of `other`."""
    if isinstance(cond, Tensor):
        return torch.where(chosen.reshape(-1, *[1] * (cond.ndim - 1)).to(cond.device), cond, other)
    if isinstance(cond, Conditions):
        return Conditions({name: where(chosen, cond[name], other[name]) for name in cond})
    return [a if c else b for c, a, b in zip(chosen.tolist(), cond, other, strict=True)]


__all__ = ["Conditions", "cat", "count", "rows", "to", "where"]
