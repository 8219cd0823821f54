"""Padding, its mask, and positions."""

import torch

from limbeck_text.tokenizers.padding import left_padded, moved_to_left, positions


def test_left_padding_of_rows():
    tokens, mask = left_padded([[5, 6], [7], []], pad=0)
    assert tokens.tolist() == [[5, 6], [0, 7], [0, 0]]
    assert mask.tolist() == [[True, True], [False, True], [False, False]]


def test_positions_count_real_tokens_only():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)
    assert positions(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_moving_padding_to_the_left_keeps_the_order():
    tokens = torch.tensor([[5, 6, 9, 9], [7, 8, 3, 9]])
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    real, moved = moved_to_left(mask, tokens)
    assert moved.tolist() == [[9, 9, 5, 6], [9, 7, 8, 3]]
    assert real.tolist() == [[False, False, True, True], [False, True, True, True]]
