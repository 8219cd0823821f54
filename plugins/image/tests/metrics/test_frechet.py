"""The Frechet distance on digits."""

import pytest
import torch

from limbeck_image.data.digits import Digits
from limbeck_image.metrics.class_accuracy import ClassAccuracy
from limbeck_image.metrics.frechet import Frechet


def everything(split):
    part = Digits(split)
    return part.images, part.labels


def test_frechet_of_the_training_scans_is_zero_and_of_the_held_out_ones_is_the_floor():
    data = Digits()
    train, held_out = (Frechet()(*everything(name), data) for name in ("train", "held_out"))
    assert train["frechet"] < 1e-6 and held_out["frechet_held_out"] < 1e-6
    assert held_out["frechet"] == pytest.approx(train["frechet_held_out"], rel=1e-6)
    assert 1.0 < held_out["frechet"] < 2.0


def test_a_frechet_distance_sees_lost_variety_inside_classes():
    images, labels = everything("train")
    means = torch.stack([images[labels == k].mean(dim=0) for k in range(10)])
    data = Digits()
    assert Frechet()(means[labels], labels, data)["frechet"] > 10 * Frechet()(*everything("held_out"), data)["frechet"]
    assert ClassAccuracy()(means[labels], labels, data)["class_accuracy"] > 0.95  # a classifier alone would not notice
