"""The likelihood bound against likelihoods that are known."""

import pytest
import torch
from markov_data import CHAIN, ChainData

import limbeck
from limbeck.process.categorical import MaskedProcess
from limbeck.testing import MarkovChainTeacher
from limbeck_text.metrics.likelihood_bound import NLLBound, likelihood_bound


def test_the_bound_of_an_exact_model_is_the_likelihood():
    teacher = MarkovChainTeacher(MaskedProcess(2), CHAIN, length=3)
    x0 = teacher.sequences().repeat_interleave(3000, 0)
    found = likelihood_bound(teacher, x0, limbeck.rng(0), draws=4).reshape(8, 3000).mean(1)
    expected = -teacher.log_density(teacher.sequences())
    assert float(expected.min()) > 0.5
    torch.testing.assert_close(found, expected, atol=0.08, rtol=0)


def test_a_model_without_context_pays_its_own_surprise_in_the_bound():
    class Blind(torch.nn.Linear):  # with parameters, as models have
        process = MaskedProcess(2)

        def forward(self, xt, t, cond=None):
            return limbeck.Prediction(logits=torch.tensor([0.25, 0.75], dtype=torch.float64).log().expand(*xt.shape, 2))

    data = ChainData()
    found = NLLBound(draws=200, windows=64)(Blind(1, 1), None, data)["nll_bound"]
    x0 = data.split("held_out").x0
    expected = float(-torch.tensor([0.25, 0.75]).log()[x0].mean())
    assert found == pytest.approx(expected, rel=0.02)
    with pytest.raises(TypeError, match="For language models use metric nll"):
        NLLBound()(torch.nn.Linear(1, 1), None, data)
