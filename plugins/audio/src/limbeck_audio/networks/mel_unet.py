"""Denoisers of mel spectrograms: fresh ones to train (generator `mel`); the bundled teacher is one, read from its file.

B batch; an event is (1, mels, frames). The preconditioning of EDM calls the network at x_t / sqrt(alpha_t^2
sigma_data^2 + sigma_t^2) and at log(sigma_t / alpha_t): neither depends on the process, so one set of weights is a
teacher on all of them. Beyond the noise levels it was trained at the network is called at the last of them, where every
state is noise.
"""

from functools import partial
from typing import Any

from torch import Tensor

from limbeck.networks.denoiser import Denoiser
from limbeck_audio.networks import word_means
from limbeck_audio.options.networks import MelGeneratorOptions
from limbeck_audio.signal.mel import SPACE
from limbeck_diffusion.networks.prior_mean import PriorMeanDenoiser
from limbeck_diffusion.networks.unet import ClassEmbedding, UNet, unet_denoiser

SIGMA_DATA = 0.5  # standard deviation of the scaled log-mel values
LOG_SIGMA = (-1.6, 1.1)  # log(sigma) / 4 of the levels 0.0017 and 81: all that training and samplers visit


class LevelUNet(UNet):
    """A U-Net whose time is log(sigma) / 4, held inside `LOG_SIGMA`: rectified flow starts at sigma = infinity."""

    def embed(self, time: Tensor, cond: Any, s: Tensor | None) -> Tensor:
        return super().embed(time.clamp(*LOG_SIGMA), cond, s)


def mel_generator(**options: Any) -> Denoiser:
    """A fresh denoiser of mel spectrograms under the label of a word. The label after the last word means "no word"."""
    chosen = MelGeneratorOptions(**options)
    adapter: Any = Denoiser
    if chosen.prior_mean:
        adapter = partial(PriorMeanDenoiser, means=word_means.bundled().clone())
    return unet_denoiser(
        SPACE,
        chosen,
        partial(ClassEmbedding, chosen.words),
        sigma_data=SIGMA_DATA,
        null=chosen.words,
        network=LevelUNet if chosen.prediction == "edm" else UNet,
        adapter=adapter,
    )


__all__ = ["LevelUNet", "mel_generator"]
