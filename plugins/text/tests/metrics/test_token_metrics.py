"""Metrics of tokens by hand, and the likelihood bound against likelihoods that are known."""

import math

import pytest
import torch

import limbeck
from limbeck.interfaces import Batch, Data, Space
from limbeck.process.categorical import MaskedProcess
from limbeck.testing import MarkovChainTeacher
from limbeck.testing.conformance import MetricConformance
from limbeck_text.metrics.masked import DistinctN, NLLBound, TokenEntropy, distinct, histogram_entropy, likelihood_bound

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


def test_entropy_of_a_histogram_has_its_values_on_paper():
    tokens = torch.tensor([[5, 5, 5, 5], [1, 2, 3, 4], [1, 1, 1, 2], [7, 8, 7, 8]])
    expected = [0.0, math.log(4), -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), math.log(2)]
    assert histogram_entropy(tokens).tolist() == pytest.approx(expected)
    assert TokenEntropy()(tokens, None, ChainData())["token_entropy"] == pytest.approx(sum(expected) / 4)


def test_entropy_does_not_depend_on_the_order_of_tokens():
    tokens = limbeck.rng(0).integers("x", 20, (130, 50))
    torch.testing.assert_close(histogram_entropy(tokens), histogram_entropy(tokens.flip(1)))


def test_distinct_counts_n_grams_over_all_samples():
    tokens = torch.tensor([[1, 2, 1, 2], [1, 2, 3, 3]])
    assert distinct(tokens, 1) == 3 / 8 and distinct(tokens, 2) == 4 / 6  # 12 21 | 23 33
    assert DistinctN(n=3)(tokens, None, ChainData()) == {"distinct_1": 3 / 8, "distinct_2": 4 / 6, "distinct_3": 1.0}
    with pytest.raises(ValueError, match="no 5-grams"):
        distinct(tokens, 5)


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


DIVERSITY = {"noise_is_not_judged_better_than_real_data": "it measures diversity alone, and noise has most of it"}


class TestTokenEntropy(MetricConformance):
    expected_failures = DIVERSITY

    def make(self):
        return TokenEntropy()

    def data(self):
        return ChainData()


class TestDistinctN(MetricConformance):
    expected_failures = DIVERSITY

    def make(self):
        return DistinctN()

    def data(self):
        return ChainData()
