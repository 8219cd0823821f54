"""Frechet distances of Gaussians and whitening, against closed forms."""

import pytest
import torch

from limbeck.evaluation.frechet import frechet_distance, moments, whitening


def test_moments_are_mean_and_unbiased_covariance():
    mean, covariance = moments(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    assert mean.tolist() == [1, 2] and covariance.tolist() == [[2, 4], [4, 8]] and mean.dtype == torch.float64


def test_distance_of_gaussians_with_commuting_covariances():
    # |m|^2 + sum (sqrt a - sqrt b)^2
    a, b = torch.tensor([4.0, 9.0, 0.0]).double(), torch.tensor([1.0, 16.0, 1.0]).double()
    shift = torch.tensor([1.0, 2.0, -2.0]).double()
    found = frechet_distance(shift, a.diag(), torch.zeros(3).double(), b.diag())
    assert found == pytest.approx(9 + 1 + 1 + 1, rel=1e-12)


def test_distance_to_a_linear_image_is_the_cost_of_the_map():
    # for a symmetric positive map T: tr((T - 1) S (T - 1))
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    covariance, transport = root @ root.T, torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0]).double())
    push = transport - torch.eye(4).double()
    found = frechet_distance(torch.zeros(4), covariance, torch.zeros(4), transport @ covariance @ transport)
    assert found == pytest.approx(float((push @ covariance @ push).trace()), rel=1e-9)


def test_whitened_features_have_unit_covariance_up_to_shrinkage():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(5000, 3, generator=generator).double() * torch.tensor([10.0, 1.0, 0.1]) + 5
    centre, matrix = whitening(raw, shrinkage=0.03)
    white = (raw - centre.double()) @ matrix.double()
    spread = torch.cov(raw.T).diag()
    expected = spread / (spread + 0.03 * spread.mean())  # the axes hardly correlate
    torch.testing.assert_close(torch.cov(white.T).diag(), expected, rtol=1e-2, atol=1e-3)
    assert float(white.mean(0).abs().max()) < 1e-5


def test_frechet_distance_is_zero_for_a_singular_covariance_against_itself():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).double()
    flat = torch.cat([points, points], dim=1)  # rank 3 of 6
    assert frechet_distance(*moments(flat), *moments(flat)) < 1e-6
