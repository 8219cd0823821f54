"""Token models small enough to enumerate, shared by the tests of discrete diffusion."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.interfaces import Prediction, Predictor, Space
from limbeck.process.categorical import CategoricalProcess, MaskedProcess
from limbeck.testing import MarkovChainTeacher

JOINT = torch.tensor([[0.60, 0.10], [0.05, 0.25]], dtype=torch.float64)  # of the method sheet's two-token chain


def two_tokens(process: CategoricalProcess | None = None) -> MarkovChainTeacher:
    """The exact teacher of JOINT: p(x1 = i, x2 = j) = JOINT[i, j]."""
    first = JOINT.sum(1)
    return MarkovChainTeacher(process or MaskedProcess(2), JOINT / first[:, None], first, length=2)


def independent(p: Sequence[float], length: int, process: CategoricalProcess | None = None) -> MarkovChainTeacher:
    """Equal, independent tokens."""
    probabilities = torch.tensor(p, dtype=torch.float64)
    return MarkovChainTeacher(
        process or MaskedProcess(len(p)), probabilities.expand(len(p), -1), probabilities, length=length
    )


class Table(Predictor):
    """Learned logits for every state of x_t: exact for any distribution, blind to time. (S**L, L, V), float64."""

    def __init__(self, process: CategoricalProcess, length: int, logits: Tensor | None = None):
        super().__init__()
        self.process, self.space = process, Space((length,), domain="tokens")
        size = (process.states**length, length, process.vocab)
        self.logits = nn.Parameter(torch.zeros(size, dtype=torch.float64) if logits is None else logits)

    @classmethod
    def of(cls, teacher: MarkovChainTeacher, t: float = 0.5) -> "Table":
        """What an exact teacher predicts at time t of every state. (A masked process: at any time.)"""
        states = all_states(teacher.process, teacher.length)
        p = teacher.posterior(states, torch.full((len(states),), t, dtype=torch.float64))
        return cls(teacher.process, teacher.length, p.clamp_min(1e-300).log())

    def row(self, xt: Tensor) -> Tensor:
        return (xt * self.process.states ** torch.arange(xt.shape[1] - 1, -1, -1)).sum(1)

    def forward(
        self, xt: Tensor, t: Tensor, cond: Any = None, *, s: Tensor | None = None, features: Sequence[int] = ()
    ) -> Prediction:
        return Prediction(logits=self.logits[self.row(xt)])


def all_states(process: CategoricalProcess, length: int) -> Tensor:
    """(S**L, L), in the order of `Table.row`."""
    return torch.cartesian_prod(*[torch.arange(process.states)] * length).reshape(-1, length)
