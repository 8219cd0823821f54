"""Denoisers of moving digits: fresh ones to train, and causal ones that begin as the bundled causal start."""

from typing import Any

from limbeck.networks.denoiser import Denoiser
from limbeck.plugins.registry import create
from limbeck.process.gaussian import process_named
from limbeck.runs.build import load_weights
from limbeck_video.data.moving_digits import CLASSES, DIGITS, NULL, SPACE
from limbeck_video.networks.clip_transformer import ClipTransformer
from limbeck_video.options.networks import CausalNetworkOptions, ClipNetworkOptions

SIGMA_DATA = 0.45  # standard deviation of the clips in [-1, 1]
SHIFT = 3.0  # a clip shows everything many times over: it is at much noise that what happens in it is decided


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


def moving_digits_causal(**options: Any) -> Denoiser:
    """A causal denoiser that carries a cache, with the weights of the bundled causal start: where streaming students
    begin."""
    chosen = CausalNetworkOptions(**options)
    generator = moving_digits_generator(**chosen.model_dump(exclude={"start"}))
    if chosen.start == "bundled":
        start = create("teacher", "video/moving_digits_causal")
        load_weights(generator, start.state_dict(), "generator.start: bundled")
    return generator


__all__ = ["SIGMA_DATA", "moving_digits_causal", "moving_digits_generator"]
