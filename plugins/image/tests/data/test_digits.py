import torch

from limbeck_image.data.digits import Digits, scans

HELD_OUT_LABELS = [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]


def test_the_split_is_fixed_stratified_and_disjoint():
    (train, train_labels), (held_out, labels) = scans()["train"], scans()["held_out"]
    assert len(train) == 1437 and len(held_out) == 360
    assert labels.bincount().min() >= 35 and labels.bincount().max() <= 37
    assert labels[:12].tolist() == HELD_OUT_LABELS
    assert train_labels.bincount().sum() == 1437
    distance = torch.cdist(held_out.flatten(1), train.flatten(1))
    assert distance.min() > 0  # no scan is in both


def test_pixels_are_seventeen_grey_levels_between_minus_one_and_one():
    images = Digits().images
    assert images.shape == (1437, 1, 8, 8) and images.dtype == torch.float32
    assert images.min() == -1 and images.max() == 1
    assert images.unique().tolist() == [k / 8 - 1 for k in range(17)]


def test_a_batch_holds_the_rows_asked_for_with_their_labels():
    data = Digits()
    batch = data.batch(torch.tensor([5, 0, 5]))
    assert torch.equal(batch.x0[0], batch.x0[2]) and torch.equal(batch.x0[1], data.images[0])
    assert torch.equal(batch.cond, data.labels[[5, 0, 5]])


def test_who_names_no_split_never_sees_the_held_out_scans():
    assert len(Digits()) == len(Digits().split("train")) == 1437
    assert len(Digits().split("held_out")) == 360
    assert len(Digits().split("held_out").split("train")) == 1437
