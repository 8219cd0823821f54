"""Teachers, generators and recipes of limbeck-audio, for the manifest. Imports neither torch nor pydantic."""

from limbeck.manifest import Component

_OPTIONS = "limbeck_audio.options.models"
_PACKAGE = "limbeck_audio"
_DENOISER = {"gaussian", "denoiser", "features", "trainable_copy", "null_condition", "sampling"}


def _recipe(name: str, summary: str, **details: str) -> Component:
    file = f"{_PACKAGE}:recipes/{name}.yaml"
    return Component("recipe", name, file, summary=summary, modality="audio", details=details)


COMPONENTS: list[Component] = [
    Component(
        "generator",
        "mel",
        f"{_PACKAGE}.networks.mel_unet:mel_generator",
        summary="U-Net over mel spectrograms under the label of a word, on any Gaussian process",
        options=f"{_OPTIONS}:MelGeneratorOptions",
        modality="audio",
        can=_DENOISER | {"flow_map_time"},
        details={"flow_map_time": "with two_times: true"},
    ),
    Component(
        "teacher",
        "spoken_digits",
        f"{_PACKAGE}.networks.mel_unet:spoken_digits_teacher",
        summary="bundled teacher of spoken digits, trained by recipe spoken_digits_teacher; on any Gaussian process",
        options=f"{_OPTIONS}:SpokenDigitsTeacherOptions",
        modality="audio",
        can=_DENOISER,
    ),
    _recipe("spoken_digits_teacher", "trains the bundled teacher of spoken digits (flow matching)"),
    _recipe("spoken_digits_dmd2", "distils the teacher of spoken digits into one step by distribution matching"),
    _recipe("spoken_digits_tour", "spoken_digits_dmd2 in three minutes", tour="3"),
    _recipe(
        "spoken_digits_consistency", "distils the teacher of spoken digits into one step by consistency distillation"
    ),
    _recipe(
        "spoken_digits_comospeech", "distils the teacher of spoken digits into one step with CoMoSpeech's settings"
    ),
    _recipe(
        "spoken_digits_compare",
        "what objectives are compared on: spoken_digits_dmd2 with variants",
        compare="spoken_digits",
    ),
]
