"""What every metric of images has in common, on real scans and on noise."""

import pytest
import torch

from limbeck_image.data.digits import Digits
from limbeck_image.metrics.class_accuracy import ClassAccuracy
from limbeck_image.metrics.frechet import Frechet
from limbeck_image.metrics.nearest_neighbour import NearestNeighbour
from limbeck_image.metrics.precision_recall import PrecisionRecall


def everything(split):
    part = Digits(split)
    return part.images, part.labels


def test_real_scans_score_well_and_noise_scores_badly():
    data = Digits()
    images, labels = everything("held_out")
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    metrics = Frechet(), PrecisionRecall(), ClassAccuracy()
    real, junk = ({k: v for m in metrics for k, v in m(x, labels, data).items()} for x in (images, noise))
    assert real["class_accuracy"] >= 0.985 and junk["class_accuracy"] < 0.3
    assert real["precision"] > 0.8 and junk["precision"] < 0.05
    assert real["recall"] > 0.85
    assert junk["frechet"] > 20 * real["frechet"]


def test_class_accuracy_without_labels_says_what_is_missing():
    with pytest.raises(ValueError, match="needs the labels"):
        ClassAccuracy()(everything("held_out")[0], None, Digits())


def test_every_number_of_a_metric_says_which_way_is_better():
    images, labels = everything("held_out")
    for metric in (Frechet(), PrecisionRecall(), ClassAccuracy(), NearestNeighbour()):
        assert set(metric(images, labels, Digits())) == set(metric.better)
