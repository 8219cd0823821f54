"""Denoisers of moving digits: fresh ones to train, the bundled bidirectional teacher and the bundled causal start."""

from importlib import resources
from typing import Any

from limbeck.export import teacher_files
from limbeck.networks.denoiser import Denoiser
from limbeck.process.gaussian import process_named
from limbeck.runs.build import load_weights
from limbeck_video.data.moving_digits import CLASSES, DIGITS, NULL, SPACE
from limbeck_video.networks.clip_transformer import ClipTransformer
from limbeck_video.options.networks import CausalNetworkOptions, ClipNetworkOptions, ClipTeacherOptions

SIGMA_DATA = 0.45  # standard deviation of the clips in [-1, 1]
SHIFT = 3.0  # a clip shows everything many times over: it is at much noise that what happens in it is decided
BUNDLED = "moving_digits_teacher.safetensors"
BUNDLED_CAUSAL = "moving_digits_causal.safetensors"


def moving_digits_generator(**options: Any) -> Denoiser:
    """A fresh denoiser of clips, for the two labels of its digits (B, 2) in order. Label 10 means "no label"."""
    chosen = ClipNetworkOptions(**options)
    network = ClipTransformer(
        SPACE,
        width=chosen.width,
        depth=chosen.depth,
        heads=chosen.heads,
        patch=chosen.patch,
        attention=chosen.attention,
        chunk=chosen.chunk,
        window=chosen.window,
        sink=chosen.sink,
        labels=(CLASSES, DIGITS),
        reach=SPACE.event[0] - 1,
        two_times=chosen.two_times,
    )
    return Denoiser(
        network,
        process_named(chosen.process, shift=SHIFT if chosen.shift is None else chosen.shift, sigma_data=SIGMA_DATA),
        SPACE,
        prediction=chosen.prediction,
        sigma_data=SIGMA_DATA,
        null=NULL,
        two_times=chosen.two_times,
    )


def moving_digits_teacher(**options: Any) -> Denoiser:
    """The bundled bidirectional teacher, frozen; or one of your own, from a file that the exporter `teacher` wrote.

    `teacher.provenance` holds its recipe, data, licence, seed and metrics.
    """
    return _bundled(BUNDLED, **options)


def moving_digits_causal_teacher(**options: Any) -> Denoiser:
    """The bundled causal start, frozen: it streams, in as many steps as a teacher needs."""
    return _bundled(BUNDLED_CAUSAL, **options)


def moving_digits_causal(**options: Any) -> Denoiser:
    """A causal denoiser that carries a cache, with the weights of the bundled causal start: where streaming students
    begin."""
    chosen = CausalNetworkOptions(**options)
    generator = moving_digits_generator(**chosen.model_dump(exclude={"start"}))
    if chosen.start == "bundled":
        load_weights(generator, _bundled(BUNDLED_CAUSAL).state_dict(), "generator.start: bundled")
    return generator


def _bundled(name: str, **options: Any) -> Denoiser:
    path = ClipTeacherOptions(**options).weights or str(resources.files("limbeck_video") / "assets" / name)
    return teacher_files.load(path, _any_network)


def _any_network(start: str = "fresh", **config: Any) -> Denoiser:
    """From the options of either generator; the file itself holds the weights."""
    return moving_digits_generator(**config)


__all__ = [
    "SIGMA_DATA", "moving_digits_causal", "moving_digits_causal_teacher", "moving_digits_generator",
    "moving_digits_teacher",
]  # fmt: skip
