"""Manifest entries of the video networks and teachers. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.networks"
_BUILDERS = "limbeck_video.networks.moving_digits"
_DENOISER = {"gaussian", "denoiser", "features", "frame_time", "trainable_copy", "null_condition", "sampling"}
_TINY = {"width": 32, "depth": 1, "heads": 2, "patch": 10}


COMPONENTS: list[Component] = [
    Component(
        "teacher",
        "moving_digits",
        f"{_BUILDERS}:moving_digits_teacher",
        summary="bundled bidirectional teacher of moving digits, trained by recipe moving_digits_teacher",
        options=f"{_OPTIONS}:ClipTeacherOptions",
        modality="video",
        can=_DENOISER,
    ),
    Component(
        "teacher",
        "moving_digits_causal",
        f"{_BUILDERS}:moving_digits_causal_teacher",
        summary="bundled causal start: streams moving digits, trained by recipe moving_digits_causal",
        options=f"{_OPTIONS}:ClipTeacherOptions",
        modality="video",
        can=_DENOISER | {"cache"},
    ),
    Component(
        "generator",
        "moving_digits",
        f"{_BUILDERS}:moving_digits_generator",
        summary="factorised transformer of clips, bidirectional or causal, on any Gaussian process",
        options=f"{_OPTIONS}:ClipNetworkOptions",
        modality="video",
        can=_DENOISER | {"flow_map_time"},
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
        can=_DENOISER | {"cache", "cache_ahead", "flow_map_time"},
        details={"flow_map_time": "with two_times: true and start: fresh"},
        example={**_TINY, "start": "fresh"},
    ),
]
