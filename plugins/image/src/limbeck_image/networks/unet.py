"""Denoisers of digits: fresh ones to train (generator `digits`); the bundled teacher is one, read from its file."""

from functools import partial
from typing import Any

from limbeck.networks.denoiser import Denoiser
from limbeck_diffusion.data.digits import CLASSES
from limbeck_diffusion.networks.unet import ClassEmbedding, unet_denoiser
from limbeck_image.data.digits import SPACE
from limbeck_image.options.networks import DigitsGeneratorOptions

SIGMA_DATA = 0.75  # standard deviation of the scans in [-1, 1]


def digits_generator(**options: Any) -> Denoiser:
    """A fresh class-conditional denoiser of digits. Label 10 means "no label"."""
    chosen = DigitsGeneratorOptions(**options)
    return unet_denoiser(SPACE, chosen, partial(ClassEmbedding, CLASSES), sigma_data=SIGMA_DATA, null=CLASSES)
