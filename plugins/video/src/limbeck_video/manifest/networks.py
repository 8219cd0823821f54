"""Manifest entries of the video networks and teachers. Imports neither torch nor pydantic."""

from limbeck.manifest import DENOISER, Component, bundled

_OPTIONS = "limbeck_video.options.networks"
_BUILDERS = "limbeck_video.networks.moving_digits"
_CLIPS = DENOISER | {"frame_time"}
_TINY = {"width": 32, "depth": 1, "heads": 2, "patch": 10}


COMPONENTS: list[Component] = [
    bundled(
        "moving_digits",
        "limbeck_video",
        "moving_digits_teacher.safetensors",
        generator="video/moving_digits",
        summary="bundled bidirectional teacher of moving digits, trained by recipe moving_digits_teacher",
        modality="video",
        can=_CLIPS,
    ),
    bundled(
        "moving_digits_causal",
        "limbeck_video",
        "moving_digits_causal.safetensors",
        generator="video/moving_digits_causal",
        summary="bundled causal start: streams moving digits, trained by recipe moving_digits_causal",
        modality="video",
        can=_CLIPS | {"cache"},
    ),
    Component(
        "generator",
        "moving_digits",
        f"{_BUILDERS}:moving_digits_generator",
        summary="factorised transformer of clips, bidirectional or causal, on any Gaussian process",
        options=f"{_OPTIONS}:ClipNetworkOptions",
        modality="video",
        can=_CLIPS | {"flow_map_time"},
        details={"flow_map_time": "with two_times: true"},
        example=_TINY,
    ),
    Component(
        "generator",
        "moving_digits_causal",
        f"{_BUILDERS}:moving_digits_causal",
        summary="causal transformer of clips with a cache, beginning as the bundled causal start",
        options=f"{_OPTIONS}:CausalNetworkOptions",
        modality="video",
        can=_CLIPS | {"cache", "cache_ahead", "flow_map_time"},
        details={"flow_map_time": "with two_times: true and start: fresh"},
        example={**_TINY, "start": "fresh"},
    ),
]
