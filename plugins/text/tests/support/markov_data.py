"""Sequences of a Markov chain as data."""

import torch

import limbeck
from limbeck.interfaces import Batch, Data, Space
from limbeck.process.categorical import MaskedProcess
from limbeck.testing import MarkovChainTeacher

CHAIN = torch.tensor([[0.8, 0.2], [0.35, 0.65]], dtype=torch.float64)


class ChainData(Data):
    """Sequences of a Markov chain, 64 to train on and 64 held out."""

    def __init__(self, split="train"):
        self.space, self.name = Space((3,), domain="tokens"), split
        teacher = MarkovChainTeacher(MaskedProcess(2), CHAIN, length=3)
        self.x0 = teacher.sample(64, limbeck.rng(0 if split == "train" else 1))

    def __len__(self):
        return 64

    def batch(self, indices):
        return Batch(x0=self.x0[indices])

    def split(self, name):
        return ChainData(name)
