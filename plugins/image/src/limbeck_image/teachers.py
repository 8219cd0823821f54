"""Denoisers of digits: fresh ones to train (`digits` the generator) and the bundled one (`digits` the teacher)."""

from functools import partial
from importlib import resources
from typing import Any

from limbeck import teacher_files
from limbeck.denoiser import Denoiser
from limbeck.processes import EDM, VP, GaussianProcess, RectifiedFlow, TrigFlow, VPCosine
from limbeck_diffusion.unet import ClassEmbedding, UNet
from limbeck_image.digits import CLASSES, SPACE
from limbeck_image.options import DigitsGeneratorOptions, DigitsTeacherOptions

SIGMA_DATA = 0.75  # standard deviation of the scans in [-1, 1]
BUNDLED = "digits_teacher.safetensors"


def process_named(name: str, shift: float = 1.0) -> GaussianProcess:
    match name:
        case "rectified_flow":
            return RectifiedFlow(shift=shift)
        case "trigflow":
            return TrigFlow(sigma_data=SIGMA_DATA)
        case "edm":
            return EDM()
        case "vp":
            return VP()
        case "vp_cosine":
            return VPCosine()
    raise ValueError(f"unknown process {name!r}; allowed: rectified_flow, trigflow, edm, vp, vp_cosine")


def digits_generator(**options: Any) -> Denoiser:
    """A fresh class-conditional denoiser of digits. Label 10 means "no label"."""
    chosen = DigitsGeneratorOptions(**options)
    network = UNet(
        SPACE,
        channels=chosen.channels,
        blocks=chosen.blocks,
        patch=chosen.patch,
        attention=chosen.attention,
        embedding=chosen.embedding,
        dropout=chosen.dropout,
        condition=partial(ClassEmbedding, CLASSES),
        two_times=chosen.two_times,
    )
    return Denoiser(
        network,
        process_named(chosen.process, chosen.shift),
        SPACE,
        prediction=chosen.prediction,
        sigma_data=SIGMA_DATA,
        null=CLASSES,
        two_times=chosen.two_times,
    )


def digits_teacher(**options: Any) -> Denoiser:
    """The bundled teacher, frozen; or one of your own, from a file that the exporter `teacher` wrote.

    `teacher.provenance` says which recipe, data, licence, seed and metrics are behind it.
    """
    path = DigitsTeacherOptions(**options).weights or str(resources.files("limbeck_image") / "assets" / BUNDLED)
    return teacher_files.load(path, digits_generator, dropout=0.0)
