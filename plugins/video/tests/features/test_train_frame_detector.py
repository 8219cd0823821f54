"""The loss of the frame detector."""

import torch

from limbeck.randomness import Rng
from limbeck_video.features.train_frame_detector import place_loss, training_frames


def test_the_true_map_costs_nothing():
    _, labels, corners, there = training_frames(Rng(0, phase="test"), 16)
    there = torch.ones_like(there)
    apart = (corners[:, 0] - corners[:, 1]).norm(dim=1) > 2
    labels, corners, there = labels[apart], corners[apart], there[apart]
    maps = torch.zeros(len(labels), 13, 13, 13)
    maps[:, 0] = -30.0
    for k in range(len(labels)):
        for label, corner in zip(labels[k].tolist(), corners[k], strict=True):
            y, x = corner.round().long().tolist()
            maps[k, 0, y, x], maps[k, 3 + label, y, x] = 30.0, 30.0
            maps[k, 1:3, y, x] = corner - corner.round()
    terms = place_loss(maps, corners, labels, there)
    assert max(float(value) for value in terms.values()) < 1e-5
    wrong = place_loss(maps, corners, (labels + 1) % 10, there)
    assert abs(float(wrong["digits"]) - 30) < 1e-3 and float(wrong["found"]) < 1e-5
