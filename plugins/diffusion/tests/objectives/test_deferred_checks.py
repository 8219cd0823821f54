"""Whether the teacher's answer is finite is looked at at once on a CPU, and on a GPU only when something went wrong."""

import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.interfaces import Prediction
from limbeck_diffusion.objectives.finite import checked


class TimesElsewhere:
    """Times that say they are on a GPU."""

    device = torch.device("cuda")

    def __init__(self, values):
        self.values = values

    def __getitem__(self, rows):
        return self.values[rows]


BROKEN = Prediction(x0_hat=torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [torch.inf, 0.0]]))
TIMES = torch.tensor([0.1, 0.25, 0.5])
SAID = r"predicted values that are not finite for 2 of 3 samples, the first at t = 0\.25"


def test_on_a_cpu_a_broken_teacher_is_named_at_once():
    with pytest.raises(LimbeckError, match=SAID):
        checked(object(), BROKEN, TIMES)
    assert checked(object(), Prediction(x0_hat=torch.ones(3, 2)), TIMES) is None


def test_elsewhere_it_is_named_when_the_loss_is_asked_to_explain_itself():
    explain = checked(object(), BROKEN, TimesElsewhere(TIMES))
    with pytest.raises(LimbeckError, match=SAID):
        explain()
    assert checked(object(), Prediction(x0_hat=torch.ones(3, 2)), TimesElsewhere(TIMES))() is None
