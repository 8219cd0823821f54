"""Small affine maps of pictures: what they leave alone, and what they do on paper."""

import pytest
import torch

from limbeck_diffusion.augment import affine


def test_a_draw_of_zero_changes_nothing():
    x = torch.rand(3, 2, 8, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(affine(x, torch.zeros(3, 3), background=-1.0), x)
    torch.testing.assert_close(affine(x, torch.zeros(3, 5), shift=2.0, background=-1.0), x)


def test_a_shift_is_counted_in_pixels_and_brings_in_the_background():
    x = torch.rand(1, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    along = affine(x, torch.tensor([[0.0, 0, 0, 0.5, 0]]), shift=2.0, background=-1.0)
    torch.testing.assert_close(along[..., :-1], x[..., 1:])
    torch.testing.assert_close(along[..., -1], -torch.ones(1, 1, 4))
    down = affine(x, torch.tensor([[0.0, 0, 0, 0, -0.5]]), shift=2.0, background=-1.0)
    torch.testing.assert_close(down[..., 1:, :], x[..., :-1, :])


def test_a_quarter_turn_is_one():
    x = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    turned = affine(x, torch.tensor([[1.0, 0, 0]]), degrees=90)
    torch.testing.assert_close(turned, x.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_a_draw_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"draw has 3 numbers for each of 2 pictures; got \(2, 5\)"):
        affine(torch.zeros(2, 1, 8, 8), torch.zeros(2, 5))
