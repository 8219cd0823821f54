"""Options that U-Nets of several modalities share, and the denoisers they describe."""

from functools import partial
from typing import Literal

import pytest
import torch

from limbeck.interfaces import Space
from limbeck.process.gaussian import RectifiedFlow
from limbeck_diffusion.networks.options import UNetDenoiserOptions, UNetOptions
from limbeck_diffusion.networks.unet import ClassEmbedding, UNet, unet_denoiser

SPACE = Space((1, 8, 8), domain="pixels")


class TinyOptions(UNetDenoiserOptions):
    """A modality's own: another default, and its size."""

    side_unit = "rows"
    patch: Literal[1, 2, 4, 8] = 4

    @property
    def side(self) -> int:
        return 8


def test_a_denoiser_is_what_its_options_describe():
    chosen = TinyOptions(channels=(8, 16), attention=(1,), shift=3.0, prediction="v", two_times=True)
    model = unet_denoiser(SPACE, chosen, partial(ClassEmbedding, 10), sigma_data=0.7, null=10)
    assert model.process == RectifiedFlow(shift=3.0) and model.prediction == "v" and model.sigma_data == 0.7
    assert model.network.patch == 4 and model.null(torch.tensor([3])).tolist() == [10]
    out = model(torch.randn(2, 1, 8, 8), torch.rand(2), torch.tensor([1, 2]), s=torch.zeros(2))
    assert out.x0_hat.shape == out.xs.shape == (2, 1, 8, 8)


def test_a_network_of_a_class_of_its_own_is_built_alike():
    class Deep(UNet):
        pass

    torch.manual_seed(0)
    deep = Deep.of(SPACE, TinyOptions(channels=(8,)))
    torch.manual_seed(0)
    plain = UNet(SPACE, channels=(8,), patch=4)
    assert isinstance(deep, Deep)
    assert all(torch.equal(a, b) for a, b in zip(deep.parameters(), plain.parameters(), strict=True))


def test_what_does_not_fit_is_refused_before_torch_is_needed():
    with pytest.raises(ValueError, match="8 rows cannot be divided by 16 \\(patch 4, 3 levels\\): use fewer channels"):
        TinyOptions(channels=(8, 8, 8))
    with pytest.raises(ValueError, match="attention levels \\[2\\] do not exist: 2 channels make levels 0 to 1"):
        TinyOptions(attention=(2,))
    with pytest.raises(ValueError, match="shift belongs to rectified_flow; the process is edm"):
        TinyOptions(process="edm", shift=2.0)


def test_a_modality_that_gives_no_side_is_reminded():
    with pytest.raises(NotImplementedError, match="UNetOptions gives no side: override the property"):
        UNetOptions()
