"""Manifest entries of the video networks, teachers and recipes. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_video.options.models"
_PACKAGE = "limbeck_video"
_DENOISER = {"gaussian", "denoiser", "features", "frame_time", "trainable_copy", "null_condition", "sampling"}
_TINY = {"width": 32, "depth": 1, "heads": 2, "patch": 10}


def _recipe(name: str, summary: str, **details: str) -> Component:
    file = f"{_PACKAGE}:recipes/{name}.yaml"
    return Component("recipe", name, file, summary=summary, modality="video", details=details)


COMPONENTS: list[Component] = [
    Component(
        "teacher",
        "moving_digits",
        f"{_PACKAGE}.networks.teachers:moving_digits_teacher",
        summary="bundled bidirectional teacher of moving digits, trained by recipe moving_digits_teacher",
        options=f"{_OPTIONS}:ClipTeacherOptions",
        modality="video",
        can=_DENOISER,
    ),
    Component(
        "teacher",
        "moving_digits_causal",
        f"{_PACKAGE}.networks.teachers:moving_digits_causal_teacher",
        summary="bundled causal start: streams moving digits, trained by recipe moving_digits_causal",
        options=f"{_OPTIONS}:ClipTeacherOptions",
        modality="video",
        can=_DENOISER | {"cache"},
    ),
    Component(
        "generator",
        "moving_digits",
        f"{_PACKAGE}.networks.teachers:moving_digits_generator",
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
        f"{_PACKAGE}.networks.teachers:moving_digits_causal",
        summary="causal transformer of clips with a cache, beginning as the bundled causal start",
        options=f"{_OPTIONS}:CausalNetworkOptions",
        modality="video",
        can=_DENOISER | {"cache", "cache_ahead", "flow_map_time"},
        details={"flow_map_time": "with two_times: true and start: fresh"},
        example={**_TINY, "start": "fresh"},
    ),
    _recipe("moving_digits_teacher", "trains the bundled bidirectional teacher of moving digits (flow matching)"),
    _recipe("moving_digits_causal", "trains the bundled causal start from the teacher's weights (diffusion forcing)"),
    _recipe("moving_digits_self_forcing", "distils the teacher into a student that streams, two calls a chunk"),
    _recipe("moving_digits_tour", "moving_digits_self_forcing in five minutes", tour="2"),
    _recipe("moving_digits_dmd2", "distils the teacher into four steps by distribution matching, clips at once"),
    _recipe("moving_digits_consistency", "distils the teacher into four steps by consistency distillation"),
    _recipe(
        "moving_digits_compare",
        "what objectives are compared on: moving_digits_self_forcing with variants",
        compare="moving_digits",
    ),
]
