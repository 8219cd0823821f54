"""Bouncing bodies in closed form."""

import torch

from limbeck_video.physics.bouncing import TRAVEL, reflect, trajectory


def test_a_body_is_reflected_at_both_walls():
    # from 10 at 1.5 per frame: 10, 11.5, (13 ->) 11, 9.5, ...; from 1 at -1.25: 1, (-0.25 ->) 0.25, 1.5, ...
    start = torch.tensor([[10.0, 1.0]], dtype=torch.float64)
    velocity = torch.tensor([[1.5, -1.25]], dtype=torch.float64)
    expected = torch.tensor([[10, 1], [11.5, 0.25], [11, 1.5], [9.5, 2.75]], dtype=torch.float64)
    torch.testing.assert_close(trajectory(start, velocity, 4)[0], expected)
    torch.testing.assert_close(trajectory(start, velocity, 2, first=2)[0], expected[2:])


def test_reflection_has_the_period_of_two_lengths():
    where = torch.linspace(-40, 40, 501, dtype=torch.float64)
    torch.testing.assert_close(reflect(where + 2 * TRAVEL), reflect(where))
    assert float(reflect(where).min()) >= 0 and float(reflect(where).max()) <= TRAVEL
