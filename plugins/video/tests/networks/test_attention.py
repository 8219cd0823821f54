"""Masks and biases on paper."""

import torch

from limbeck.networks.cache import context_mask
from limbeck_video.networks.attention import distance_bias, first_preferences, visible


def test_the_masks_of_the_network_are_those_that_a_cache_makes():
    at = torch.arange(12)
    for chunk, window, sink in ((1, None, 0), (3, None, 0), (3, 3, 0), (3, 4, 2), (2, 5, 3)):
        assert torch.equal(visible(at, at, chunk, window, sink), context_mask(12, chunk, window=window, sink=sink))


def test_distances_beyond_the_reach_look_like_the_furthest():
    table = torch.arange(5.0)[None]  # reach 2: columns for -2 ... 2
    bias = distance_bias(table, torch.tensor([10]), torch.tensor([0, 8, 9, 10, 11, 12, 19]))
    assert bias.flatten().tolist() == [0, 0, 1, 2, 3, 4, 4]


def test_heads_begin_with_distances_of_their_own():
    assert (first_preferences(5, 4).argmax(dim=1) - 4).tolist() == [0, -1, 1, -2, 2]
