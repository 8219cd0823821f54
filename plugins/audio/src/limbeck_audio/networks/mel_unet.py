"""Denoisers of mel spectrograms: fresh ones to train (`mel` the generator) and the bundled one (`spoken_digits` the
teacher).

B batch; an event is (1, mels, frames). The preconditioning of EDM asks the network at x_t / sqrt(alpha_t^2 sigma_data^2
+ sigma_t^2) and at log(sigma_t / alpha_t): neither depends on the process, so one set of weights is a teacher on all of
them. Beyond the noise levels it was trained at the network is asked at the last of them, where every state is noise.
"""

from functools import partial
from importlib import resources
from typing import Any

from torch import Tensor

from limbeck.export import teacher_files
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import process_named
from limbeck_audio.networks import word_means
from limbeck_audio.options.models import MelGeneratorOptions, SpokenDigitsTeacherOptions
from limbeck_audio.signal.mel import SPACE
from limbeck_diffusion.networks.prior_mean import PriorMeanDenoiser
from limbeck_diffusion.networks.unet import ClassEmbedding, UNet, unet_denoiser

SIGMA_DATA = 0.5  # standard deviation of the scaled log-mel values
LOG_SIGMA = (-1.6, 1.1)  # log(sigma) / 4 of the levels 0.0017 and 81: all that training and samplers visit
BUNDLED = "spoken_digits_teacher.safetensors"


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


def spoken_digits_teacher(**options: Any) -> Denoiser:
    """The bundled teacher, frozen; or one of your own, from a file that the exporter `teacher` wrote.

    `teacher.provenance` says which recipe, data, licence, seed and metrics are behind it.

    Raises:
        ValueError: `process` was given for a network whose weights belong to the process it was trained on.
    """
    chosen = SpokenDigitsTeacherOptions(**options)
    path = chosen.weights or str(resources.files("limbeck_audio") / "assets" / BUNDLED)
    teacher = teacher_files.load(path, mel_generator, dropout=0.0)
    if chosen.process is not None:
        process = process_named(chosen.process, sigma_data=SIGMA_DATA)
        if teacher.prediction != "edm" and process != teacher.process:
            raise ValueError(
                f"the teacher in {path} predicts {teacher.prediction} on {teacher.process}; only prediction edm can be "
                "moved to another process. Leave `process` out, or train it with generator.prediction=edm"
            )
        teacher.process = process
    return teacher


__all__ = ["LevelUNet", "mel_generator", "spoken_digits_teacher"]
