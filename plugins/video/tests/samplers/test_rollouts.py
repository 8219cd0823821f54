import torch
from streaming import Model, Streams

from limbeck_video.data.moving_digits import MovingDigits
from limbeck_video.samplers.rollouts import long_rollout


def test_a_rollout_stops_where_there_are_enough_frames_and_closes_the_stream():
    sampler = Streams()
    made = long_rollout(Model(), sampler, torch.zeros(4, 2).long(), frames=10, steps=4)
    assert made.shape == (4, 10, 1, 20, 20) and sampler.made == 4 and sampler.closed == 1
    torch.testing.assert_close(made, MovingDigits("held_out", frames=90).batch(torch.arange(4)).x0[:, :10])
