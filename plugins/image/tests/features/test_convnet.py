"""The bundled classifier, whose features metrics of images measure in."""

import torch

from limbeck_image.data.digits import Digits
from limbeck_image.features.convnet import bundled


def test_the_classifier_reads_held_out_scans():
    held_out = Digits("held_out")
    batch = held_out.batch(torch.arange(len(held_out)))
    assert (bundled()(batch.x0).argmax(dim=1) == batch.cond).double().mean() >= 0.985


def test_features_are_centred_and_no_direction_exceeds_unit_variance_on_the_training_scans():
    features = bundled().features(Digits().images).double()
    assert features.mean(dim=0).abs().max() < 1e-3
    spread = torch.linalg.eigvalsh(torch.cov(features.T))
    assert spread.max() < 1.001 and spread.sum() > 25
