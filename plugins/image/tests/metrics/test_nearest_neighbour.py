"""Distances to the nearest real image: copies are seen."""

import pytest
import torch

from limbeck_image.data.digits import Digits
from limbeck_image.metrics.nearest_neighbour import NearestNeighbour, nearest


def everything(split):
    part = Digits(split)
    return part.images, part.labels


def test_nearest_is_the_smallest_distance():
    found = nearest(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([1.0, 4.0]).minimum(torch.tensor([1.0, 4.24264])))


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_a_copy_machine_is_caught_and_fresh_scans_are_not(space):
    data, metric = Digits(), NearestNeighbour(space=space)
    images, labels = everything("train")
    copies = images + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = metric(copies, labels, data)
    assert found["copied"] > 0.95 and found["nearest_ratio"] < 0.2
    honest = metric(*everything("held_out"), data)
    assert honest["nearest_ratio"] == pytest.approx(1.0) and honest["copied"] <= 0.02


def test_half_a_copy_machine_shows_as_half():
    images, _ = everything("train")
    fresh, _ = everything("held_out")
    found = NearestNeighbour()(torch.cat([images[:360], fresh]), None, Digits())
    assert found["copied"] == pytest.approx(0.5, abs=0.02)
