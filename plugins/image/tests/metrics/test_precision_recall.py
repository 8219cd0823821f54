"""Precision and recall by nearest-neighbour balls, by hand and on clouds of points."""

import pytest
import torch

from limbeck_image.metrics.precision_recall import covered, precision_recall


def test_covered_counts_queries_inside_a_ball_by_hand():
    # points 0, 1, 3 on a line, k = 1: radii 1, 1, 2, so [-1, 1], [0, 2] and [1, 5] are covered
    points = torch.tensor([[0.0], [1.0], [3.0]])
    queries = torch.tensor([[-0.9], [1.5], [4.9], [-1.1], [5.1]])
    assert covered(queries, points, k=1) == pytest.approx(3 / 5)


def test_recall_falls_when_samples_collapse_and_precision_does_not():
    g = torch.Generator().manual_seed(0)
    real, fresh = torch.randn(2, 400, 2, generator=g)
    precision, recall = precision_recall(fresh, real, k=3)
    assert precision > 0.8 and recall > 0.8
    precision, recall = precision_recall(0.1 * fresh, real, k=3)
    assert precision > 0.9 and recall < 0.1


def test_precision_falls_when_samples_scatter_and_recall_does_not():
    g = torch.Generator().manual_seed(0)
    real, fresh = torch.randn(2, 400, 2, generator=g)
    precision, recall = precision_recall(5 * fresh, real, k=3)
    assert precision < 0.3 and recall > 0.9


def test_precision_and_recall_do_not_depend_on_how_many_samples_are_given():
    g = torch.Generator().manual_seed(0)
    real = torch.randn(300, 2, generator=g)
    few, many = (precision_recall(torch.randn(n, 2, generator=g), real, k=3) for n in (300, 3000))
    assert abs(few[0] - many[0]) < 0.06 and abs(few[1] - many[1]) < 0.06


def test_too_few_samples_for_the_neighbours_are_refused():
    with pytest.raises(ValueError, match="more than 3 samples; got 2"):
        precision_recall(torch.zeros(2, 2), torch.zeros(10, 2), k=3)
