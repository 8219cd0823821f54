"""The scans of digits that images and clips share."""

import pytest
import torch

pytest.importorskip("sklearn")

from limbeck_diffusion.data.digits import CLASSES, HELD_OUT, INK, SIDE, scans


def test_every_scan_is_in_one_split_and_every_label_in_both():
    (ink, labels), (held_ink, held_labels) = scans()["train"], scans()["held_out"]
    assert ink.shape == (1797 - HELD_OUT, SIDE, SIDE) and held_ink.shape == (HELD_OUT, SIDE, SIDE)
    assert labels.unique().tolist() == held_labels.unique().tolist() == list(range(CLASSES))
    seen = {scan.numpy().tobytes() for scan in ink}
    assert not any(scan.numpy().tobytes() in seen for scan in held_ink)


def test_ink_is_counted_in_seventeen_levels():
    ink = torch.cat([part for part, _ in scans().values()])
    assert torch.equal(ink.unique(), torch.arange(INK + 1.0))
