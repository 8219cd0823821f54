"""An objective's roles: wrapped while they move, bare otherwise."""

import pytest
import torch
from torch import nn

from limbeck.interfaces import Loss, Objective, Phase


class Two(Objective):
    """A generator and a critic that take turns."""

    def setup(self, generator, teacher=None, **named):
        self.add_role("generator", generator)
        self.add_role("critic", nn.Linear(1, 1))

    def phases(self, step):
        return [Phase("generator", ("generator",)), Phase("critic", ("critic",))]

    def loss(self, phase, batch, rng):
        return Loss(self.network("generator", phase)(torch.ones(1, 1)).sum())


def test_a_role_is_wrapped_while_it_moves_and_bare_for_everything_else():
    objective, generator = Two(), nn.Linear(1, 1)
    objective.setup(generator)
    wrapped = nn.Sequential(generator)
    objective.bind({"generator": wrapped})
    own, other = objective.phases(0)
    assert objective.network("generator", own) is wrapped and objective.network("generator", other) is generator
    assert objective.bare("generator") is generator


def test_a_role_that_does_not_exist_is_named_beside_those_that_do():
    objective = Two()
    objective.setup(nn.Linear(1, 1))
    with pytest.raises(KeyError, match=r"no role 'discriminator'; this objective has \['critic', 'generator'\]"):
        objective.bare("discriminator")
