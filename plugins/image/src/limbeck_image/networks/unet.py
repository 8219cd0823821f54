"""Denoisers of digits: fresh ones to train (`digits` the generator) and the bundled one (`digits` the teacher)."""

from functools import partial
from importlib import resources
from typing import Any

from limbeck.export import teacher_files
from limbeck.networks.denoiser import Denoiser
from limbeck_diffusion.data.digits import CLASSES
from limbeck_diffusion.networks.unet import ClassEmbedding, unet_denoiser
from limbeck_image.data.digits import SPACE
from limbeck_image.options.digits import DigitsGeneratorOptions, DigitsTeacherOptions

SIGMA_DATA = 0.75  # standard deviation of the scans in [-1, 1]
BUNDLED = "digits_teacher.safetensors"


def digits_generator(**options: Any) -> Denoiser:
    """A fresh class-conditional denoiser of digits. Label 10 means "no label"."""
    chosen = DigitsGeneratorOptions(**options)
    return unet_denoiser(SPACE, chosen, partial(ClassEmbedding, CLASSES), sigma_data=SIGMA_DATA, null=CLASSES)


def digits_teacher(**options: Any) -> Denoiser:
    """The bundled teacher, frozen; or one of your own, from a file that the exporter `teacher` wrote.

    `teacher.provenance` says which recipe, data, licence, seed and metrics are behind it.
    """
    path = DigitsTeacherOptions(**options).weights or str(resources.files("limbeck_image") / "assets" / BUNDLED)
    return teacher_files.load(path, digits_generator, dropout=0.0)
