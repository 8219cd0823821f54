"""Attention written out is the fused kernel's."""

import torch
from torch.nn import functional

from limbeck_diffusion.networks.attention import attend


def test_without_a_bias_it_is_the_fused_one():
    q, k, v = torch.randn(3, 2, 3, 7, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attend(q, k, v), functional.scaled_dot_product_attention(q, k, v))


def test_a_bias_of_minus_infinity_hides_a_key():
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    bias = torch.randn(3, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    expected = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(2, 3, 5, 5))
    torch.testing.assert_close(attend(q, k, v, bias), expected)
    torch.testing.assert_close(attend(q, k, v, bias)[..., 0, :], v[..., 0, :])  # the first sees itself alone
