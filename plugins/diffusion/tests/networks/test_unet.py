from functools import partial

import pytest
import torch

from limbeck import Space
from limbeck_diffusion.networks.unet import Attention, Block, ClassEmbedding, TimeFeatures, UNet


def alive(network):
    """The same network away from its zero initialisation."""
    g = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=g)
    return network.eval()


@pytest.mark.parametrize(
    ("side", "depth", "options"),
    [
        (8, 1, dict(channels=(16, 32), patch=2)),
        (8, 1, dict(channels=(16, 24, 32), patch=1, blocks=2, attention=(2,))),
        (16, 3, dict(channels=(16, 32), patch=4, attention=(0, 1))),
        (32, 3, dict(channels=(16, 24, 32), patch=1)),
        (64, 3, dict(channels=(16, 24, 32, 32), patch=2, attention=(3,))),
    ],
)
def test_the_u_net_keeps_shapes_from_8_to_64_pixels_and_learns_everywhere(side, depth, options):
    torch.manual_seed(0)
    network = alive(UNet(Space((depth, side, side), "pixels"), condition=partial(ClassEmbedding, 3), **options))
    x, t, label = torch.randn(2, depth, side, side), torch.tensor([0.2, 0.9]), torch.tensor([0, 3])
    out = network(x, t, label)
    assert out.shape == x.shape and torch.isfinite(out).all()
    out.square().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_a_fresh_network_answers_zero_and_is_the_identity_inside():
    network = UNet(Space((1, 8, 8)), condition=partial(ClassEmbedding, 10))
    assert torch.equal(network(torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([1, 2])), torch.zeros(2, 1, 8, 8))
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(Block(16, 16, 8, 0.0)(x, torch.randn(2, 8)), x)
    assert torch.equal(Attention(16)(x), x)


def test_every_pixel_sees_every_other_time_and_label():
    network = alive(UNet(Space((1, 8, 8)), condition=partial(ClassEmbedding, 10), channels=(16, 32), patch=2))
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    t = torch.tensor([0.5], requires_grad=True)
    out = network(x, t, torch.tensor([3]))
    seen, time = torch.autograd.grad(out[0, 0, 0, 0], (x, t), retain_graph=True)
    assert (seen != 0).all() and time.item() != 0
    assert not torch.allclose(out, network(x, t, torch.tensor([4])))
    torch.testing.assert_close(network(x, t, None), network(x, t, torch.tensor([10])))  # label 10: no label


def test_rows_of_a_batch_do_not_mix():
    network = alive(
        UNet(Space((1, 8, 8)), condition=partial(ClassEmbedding, 10), channels=(16, 32), patch=2, attention=(0,))
    )
    x, t, label = torch.randn(4, 1, 8, 8), torch.rand(4), torch.arange(4)
    whole = network(x, t, label)
    torch.testing.assert_close(whole[2:3], network(x[2:3], t[2:3], label[2:3]), rtol=1e-5, atol=1e-5)


def test_features_are_the_levels_and_the_middle():
    network = alive(UNet(Space((1, 8, 8)), condition=partial(ClassEmbedding, 10), channels=(16, 32), patch=2))
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3)
    out, (fine, coarse, middle) = network(x, t, None, features=(0, 1, 2))
    assert fine.shape == (3, 16, 4, 4) and coarse.shape == middle.shape == (3, 32, 2, 2)
    torch.testing.assert_close(out, network(x, t, None))
    _, (last,) = network(x, t, None, features=(-1,))
    assert torch.equal(last, middle) and not torch.equal(coarse, middle)
    with pytest.raises(ValueError, match="take 0 to 2"):
        network(x, t, None, features=(3,))


def test_dropout_acts_in_training_only():
    network = alive(UNet(Space((1, 8, 8)), dropout=0.5, channels=(16, 32), patch=2))
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3)
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    assert not torch.equal(network(x, t), network(x, t))


def test_a_second_time_starts_without_influence_and_can_learn_some():
    network = UNet(Space((1, 8, 8)), channels=(16, 32), patch=2, two_times=True)
    x, t, s = torch.randn(2, 1, 8, 8), torch.rand(2), torch.rand(2)
    for name, parameter in network.named_parameters():
        if "embed_step.2" not in name:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x, t, s=s), network(x, t))
    alive(network)
    assert not torch.allclose(network(x, t, s=s), network(x, t))


def test_a_space_that_does_not_divide_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="divisible by 16; the space has 8 x 8"):
        UNet(Space((1, 8, 8)), channels=(16, 16, 16), patch=4)
    with pytest.raises(ValueError, match="levels 0 to 1"):
        UNet(Space((1, 8, 8)), channels=(16, 16), attention=(2,))


def test_time_features_tell_close_times_apart():
    features = TimeFeatures()(torch.tensor([0.5, 0.501, 0.9]))
    assert features.shape == (3, 32)
    assert (features[0] - features[1]).norm() > 0.05 and (features[0] - features[2]).norm() > 2
