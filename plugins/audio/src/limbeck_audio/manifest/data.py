"""Data of sound. No torch, no pydantic."""

from limbeck.manifest import Component

_SMALL = {"voices": ["en-us", "en-us+f2"], "held_out_voices": ["en-us+m3"], "pitches": [50], "speeds": [130, 160]}

COMPONENTS = [
    Component(
        "data",
        "spoken_digits",
        "limbeck_audio.data.speech:SpokenDigits",
        summary="the ten digits by espeak-ng: 2,880 clips in 24 voices to train on, 720 in six others held out",
        options="limbeck_audio.options.data:SpokenDigitsOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        extra="speech",
        example=_SMALL,
    ),
    Component(
        "data",
        "spoken_words",
        "limbeck_audio.data.speech:SpokenWords",
        summary="short words of your choice by espeak-ng, in many voices, whole voices held out",
        options="limbeck_audio.options.data:SpokenWordsOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        extra="speech",
        example=_SMALL,
    ),
    Component(
        "data",
        "audio_folder",
        "limbeck_audio.data.folder:AudioFolder",
        summary="any folder of WAV, FLAC, OGG or MP3 files, converted to clips; folders below it name the words",
        options="limbeck_audio.options.data:AudioFolderOptions",
        modality="audio",
        can={"samples", "conditions", "held_out"},
        example=None,
    ),
]
