"""Chosen draws and quadrature."""

import math

import pytest
import torch

import limbeck
from limbeck.interfaces import average
from limbeck.testing import FixedDraws, gauss_hermite, gauss_hermite_batch


def test_named_draws_come_back_as_they_were_given():
    z = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    draws = FixedDraws({"noise": z, "k": torch.tensor([3, 0]), "exit": 2})
    assert draws.normal("noise", (2, 1)) is not None and torch.equal(draws.normal("noise", (2, 1)), z)
    assert draws.normal("noise", (2, 1)).dtype == torch.float64  # whatever precision the code asks for
    assert torch.equal(draws.uniform("noise", (2, 1)), z)
    assert draws.integers("k", 4, (2,)).tolist() == [3, 0]
    assert draws.shared_integer("exit", 3) == 2
    assert draws.shared_integer("anything", 1) == 0
    assert draws.used == {"noise", "k", "exit"}


def test_parts_are_slices_of_what_was_given():
    z = torch.arange(6.0)[:, None]
    parts = [FixedDraws({"noise": z}, part=i, parts=3).normal("noise", (2, 1)) for i in range(3)]
    assert torch.equal(torch.cat(parts), z)


def test_a_name_that_was_not_given_is_an_error_that_says_what_was():
    with pytest.raises(KeyError, match=r"named 'eps' of shape \(4, 1\) was drawn; FixedDraws was given: 'noise', 't'"):
        FixedDraws({"t": torch.zeros(4), "noise": torch.zeros(4, 1)}).normal("eps", (4, 1))
    with pytest.raises(KeyError, match="integer named 'exit' below 4"):
        FixedDraws({}).shared_integer("exit", 4)
    with pytest.raises(KeyError, match="gives values"):
        FixedDraws({}).generator("x")


def test_a_draw_of_the_wrong_shape_or_range_is_refused():
    with pytest.raises(ValueError, match=r"given with shape \(3, 1\); the code under test drew \(4, 1\)"):
        FixedDraws({"eps": torch.zeros(3, 1)}).normal("eps", (4, 1))
    with pytest.raises(ValueError, match=r"integers in \[0, 2\)"):
        FixedDraws({"k": torch.tensor([2])}).integers("k", 2, (1,))
    with pytest.raises(ValueError, match=r"in \[0, 3\); got 7"):
        FixedDraws({"exit": 7}).shared_integer("exit", 3)


def test_the_rest_can_be_drawn_by_another_rng():
    other = limbeck.rng(3, 1)
    draws = FixedDraws({"t": torch.zeros(4)}, otherwise=other)
    assert torch.equal(draws.normal("eps", (4, 2)), other.normal("eps", (4, 2)))
    assert torch.equal(draws.uniform("u", (4,)), other.uniform("u", (4,)))
    assert torch.equal(draws.integers("k", 9, (4,)), other.integers("k", 9, (4,)))
    assert draws.shared_integer("exit", 9) == other.shared_integer("exit", 9)
    assert torch.equal(torch.rand(3, generator=draws.generator("a")), torch.rand(3, generator=other.generator("a")))
    assert torch.equal(draws.uniform("t", (4,)), torch.zeros(4))


@pytest.mark.parametrize("nodes", [1, 2, 5, 32, 64, 128])
def test_quadrature_is_exact_for_polynomials_of_degree_2n_minus_1(nodes):
    z, w = gauss_hermite(nodes)
    assert float(w.sum()) == pytest.approx(1, abs=1e-14) and bool((w > 0).all())
    for degree in range(min(2 * nodes, 16)):
        moment = 0 if degree % 2 else math.prod(range(degree - 1, 0, -2))  # (degree - 1)!!
        assert float((w * z**degree).sum()) == pytest.approx(moment, rel=1e-11, abs=1e-9)
    assert bool((z.diff() > 0).all())


def test_a_quadrature_batch_averages_smooth_functions_exactly():
    nodes, weights = gauss_hermite_batch(64, 2)
    assert nodes.shape == (4096, 2) and nodes.dtype == torch.float64
    # E exp(a.z) = exp(|a|^2 / 2)
    got = average(torch.exp(nodes @ torch.tensor([0.5, -0.8], dtype=torch.float64)), weights)
    assert float(got) == pytest.approx(math.exp((0.25 + 0.64) / 2), rel=1e-12)
    # E cos(z1) z2^2 = exp(-1/2)
    assert float(average(torch.cos(nodes[:, 0]) * nodes[:, 1] ** 2, weights)) == pytest.approx(
        math.exp(-0.5), rel=1e-12
    )
