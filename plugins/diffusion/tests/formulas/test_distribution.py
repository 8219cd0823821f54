"""Formulas of distribution matching against pencil and paper."""

import math

import pytest
import torch

from limbeck.process.gaussian import EDM, VP, RectifiedFlow, TrigFlow, VPCosine
from limbeck_diffusion.formulas.fields import (
    discriminator_loss,
    dmd_normaliser,
    injection_loss,
    non_saturating_loss,
    score_difference,
)
from limbeck_diffusion.formulas.weights import error_weight

PROCESSES = [RectifiedFlow(), VP(), VPCosine(), EDM(), TrigFlow(0.5)]


def test_injection_puts_the_field_over_the_event_size_on_the_sample():
    at = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    field = torch.randn(3, 2, 5, dtype=torch.float64)
    loss = injection_loss(at, field)
    assert loss.shape == (3,)
    torch.testing.assert_close(loss, 0.5 * field.square().mean((1, 2)))
    (gradient,) = torch.autograd.grad(loss.sum(), at)
    torch.testing.assert_close(gradient, field / 10)


def test_score_difference_is_fake_minus_real_and_detached():
    real, fake = torch.tensor([[1.0]], requires_grad=True), torch.tensor([[3.5]], requires_grad=True)
    difference = score_difference(real, fake)
    assert difference.item() == 2.5 and not difference.requires_grad


def test_normaliser_is_one_over_the_mean_distance_per_sample():
    x0 = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    real = torch.tensor([[0.0, 0.0], [0.5, -0.5]])
    torch.testing.assert_close(dmd_normaliser(x0, real), torch.tensor([[0.5], [2.0]]), rtol=1e-5, atol=0)


def test_normaliser_stays_finite_where_sample_and_prediction_agree():
    same = torch.ones(2, 3)
    assert torch.isfinite(dmd_normaliser(same, same)).all()
    assert dmd_normaliser(same.bfloat16(), same.bfloat16()).dtype == torch.float32


def test_an_undecided_discriminator_pays_two_log_two():
    zero = torch.zeros(4)
    torch.testing.assert_close(discriminator_loss(zero, zero), torch.full((4,), 2 * math.log(2)))
    assert non_saturating_loss(torch.tensor([2.0])).item() == pytest.approx(math.log1p(math.exp(-2.0)))
    # the right verdict is cheaper than the wrong one
    assert discriminator_loss(torch.tensor(1.0), torch.tensor(-1.0)) < discriminator_loss(
        torch.tensor(-1.0), torch.tensor(1.0)
    )


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("kind", ["x0", "eps", "v", "velocity"])
def test_error_weight_turns_an_x0_error_into_the_error_of_the_prediction(process, kind):
    g = torch.Generator().manual_seed(0)
    x0, eps, wrong = (torch.randn(6, 3, generator=g, dtype=torch.float64) for _ in range(3))
    t = process.t_max * torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    xt = process.add_noise(x0, eps, t)
    given = process.convert(wrong, "x0", kind, xt, t) - process.convert(x0, "x0", kind, xt, t)
    weighted = error_weight(process, t, kind)[:, None] * (wrong - x0).square()
    torch.testing.assert_close(weighted, given.square(), rtol=1e-9, atol=1e-12)


def test_edm_weight_is_that_of_the_paper():
    # Karras et al. 2022, Tab. 1: (sigma^2 + sigma_data^2) / (sigma sigma_data)^2
    weight = error_weight(EDM(), torch.tensor([2.0]), "edm", sigma_data=0.5)
    assert weight.item() == pytest.approx((4 + 0.25) / 1.0)
