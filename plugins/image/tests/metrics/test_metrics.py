import pytest
import torch

from limbeck_image.data.digits import Digits
from limbeck_image.metrics.digits import (
    ClassAccuracy,
    Frechet,
    NearestNeighbour,
    PrecisionRecall,
    covered,
    frechet_distance,
    moments,
    nearest,
    precision_recall,
)


def everything(name):
    part = Digits(name)
    batch = part.batch(torch.arange(len(part)))
    return batch.x0, batch.cond


def test_frechet_distance_of_commuting_gaussians_is_the_textbook_sum():
    # diagonal covariances commute: |m_a - m_b|^2 + sum (sqrt a_i - sqrt b_i)^2
    a, b = torch.tensor([4.0, 1.0, 9.0]).double(), torch.tensor([1.0, 16.0, 9.0]).double()
    shift = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    found = frechet_distance(shift, a.diag(), torch.zeros(3).double(), b.diag())
    assert found == pytest.approx(float(expected), rel=1e-12)
    assert expected > 1


def test_frechet_distance_is_the_cost_of_the_optimal_map_between_correlated_gaussians():
    # y = T x with T symmetric positive definite is the optimal map from N(0, S) to N(0, T S T): cost tr((T - I) S (T -
    # I))
    g = torch.Generator().manual_seed(0)
    half, root = torch.randn(2, 6, 6, generator=g, dtype=torch.float64)
    covariance, transport = half @ half.T, root @ root.T / 6 + torch.eye(6).double()
    move = transport - torch.eye(6).double()
    zero = torch.zeros(6).double()
    found = frechet_distance(zero, covariance, zero, transport @ covariance @ transport)
    assert found == pytest.approx(float((move @ covariance @ move).trace()), rel=1e-9)


def test_frechet_distance_is_zero_for_a_singular_covariance_against_itself():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).double()
    flat = torch.cat([points, points], dim=1)  # rank 3 of 6
    assert frechet_distance(*moments(flat), *moments(flat)) < 1e-6


def test_moments_are_mean_and_unbiased_covariance():
    mean, covariance = moments(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    torch.testing.assert_close(mean, torch.tensor([1.0, 2.0]).double())
    torch.testing.assert_close(covariance, torch.tensor([[2.0, 4.0], [4.0, 8.0]]).double())


def test_nearest_is_the_smallest_distance():
    found = nearest(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([1.0, 4.0]).minimum(torch.tensor([1.0, 4.24264])))


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


def test_frechet_of_the_training_scans_is_zero_and_of_the_held_out_ones_is_the_floor():
    data = Digits()
    train, held_out = (Frechet()(*everything(name), data) for name in ("train", "held_out"))
    assert train["frechet"] < 1e-6 and held_out["frechet_held_out"] < 1e-6
    assert held_out["frechet"] == pytest.approx(train["frechet_held_out"], rel=1e-6)
    assert 1.0 < held_out["frechet"] < 2.0


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


def test_a_frechet_distance_sees_lost_variety_inside_classes():
    images, labels = everything("train")
    means = torch.stack([images[labels == k].mean(dim=0) for k in range(10)])
    data = Digits()
    assert Frechet()(means[labels], labels, data)["frechet"] > 10 * Frechet()(*everything("held_out"), data)["frechet"]
    assert ClassAccuracy()(means[labels], labels, data)["class_accuracy"] > 0.95  # a classifier alone would not notice


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


def test_class_accuracy_without_labels_says_what_is_missing():
    with pytest.raises(ValueError, match="needs the labels"):
        ClassAccuracy()(everything("held_out")[0], None, Digits())


def test_every_number_of_a_metric_says_which_way_is_better():
    images, labels = everything("held_out")
    for metric in (Frechet(), PrecisionRecall(), ClassAccuracy(), NearestNeighbour()):
        assert set(metric(images, labels, Digits())) == set(metric.better)
