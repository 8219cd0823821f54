"""What this plugin knows on paper, and Limbeck's contract for the rest (`test_conformance.py`)."""

import math

import pytest
import torch

from acme_distill.energy import energy_distance
from acme_distill.ring import ring


def test_energy_distance_between_two_gaussians_is_the_closed_form():
    # X ~ N(0, 1), Y ~ N(d, 1): E|X - Y| = E|N(d, 2)| = 2/sqrt(pi) exp(-d^2/4) + d erf(d/2)
    d = 1.5
    between = 2 / math.sqrt(math.pi) * math.exp(-(d**2) / 4) + d * math.erf(d / 2)
    expected = 2 * between - 2 * 2 / math.sqrt(math.pi)
    z = torch.randn(2, 4, 1000, 1, generator=torch.Generator().manual_seed(0))
    estimate = energy_distance(z[0], d + z[1])  # (4,)
    assert expected == pytest.approx(1.16257, abs=1e-5)
    assert estimate.mean().item() == pytest.approx(expected, abs=0.06)


def test_two_draws_by_hand():
    x, y = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[3.0], [5.0]]])
    # between: (3 + 5 + 2 + 4) / 4 = 3.5; within x: 1; within y: 2
    torch.testing.assert_close(energy_distance(x, y), torch.tensor([2 * 3.5 - 1 - 2]))


def test_energy_distance_of_equal_laws_is_zero_up_to_sampling():
    x, y = torch.randn(2, 4, 1000, 2, generator=torch.Generator().manual_seed(1))
    assert energy_distance(x, y).abs().max() < 0.02


@pytest.mark.parametrize("time", [0.2, 0.5, 0.9])
def test_the_ring_denoises_as_its_own_density_says(time):
    # Tweedie: alpha_t x0_hat = xt + sigma_t^2 grad log p_t(xt), with p_t a mixture of Gaussians of variance S^2
    teacher = ring(modes=5, std=0.3).double()
    xt = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    alpha_t, sigma_t = 1 - time, time
    variance = (alpha_t * 0.3) ** 2 + sigma_t**2
    offsets = xt[:, None] - alpha_t * teacher.means
    density = torch.logsumexp(-offsets.square().sum(-1) / (2 * variance), dim=1)
    (score,) = torch.autograd.grad(density.sum(), xt)
    x0_hat = teacher(xt.detach(), torch.full((7,), time, dtype=torch.float64)).x0_hat
    torch.testing.assert_close(alpha_t * x0_hat, xt.detach() + sigma_t**2 * score, rtol=1e-10, atol=1e-10)
