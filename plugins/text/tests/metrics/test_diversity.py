"""Metrics of sampled tokens by hand."""

import math

import pytest
import torch
from markov_data import ChainData

import limbeck
from limbeck.testing.conformance import MetricConformance
from limbeck_text.metrics.diversity import DistinctN, TokenEntropy, distinct, histogram_entropy


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
