"""Training the classifier again."""

import pytest
import torch

import limbeck
from limbeck_image.features.train_convnet import augment, train


def test_augmentation_moves_digits_a_little_and_keeps_the_range():
    images = limbeck.create("data", "image/digits").batch(torch.arange(64)).x0
    moved = augment(images, limbeck.rng(0, 0, "classifier"))
    assert moved.shape == images.shape and moved.min() >= -1 and moved.max() <= 1
    change = (moved - images).square().mean()
    assert 0.005 < change < 0.3
    assert torch.equal(moved, augment(images, limbeck.rng(0, 0, "classifier")))
    assert not torch.equal(moved, augment(images, limbeck.rng(0, 1, "classifier")))


def test_training_the_classifier_is_a_function_of_the_seed():
    (first, _), (second, _), (other, _) = train(0, epochs=1), train(0, epochs=1), train(1, epochs=1)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert not torch.equal(first.to_logits[2].weight, other.to_logits[2].weight)


@pytest.mark.slow
def test_the_classifier_can_be_trained_again():
    assert train(0)[1] >= 0.985
